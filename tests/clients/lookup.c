/* lookup KIND NAME [KIND NAME]... with the C library: `address` uses getaddrinfo, `reverse` getnameinfo, and a
   record type res_search. For each name, prints one line per answer, or `missing`, or `empty` when the name exists without
   such records, or `failed` and the reason; then `--`. Built with glibc's and with musl's compiler. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const struct { const char *word; int type; } TYPES[] = {
	{"a", 1}, {"ptr", 12}, {"mx", 15}, {"txt", 16}, {"aaaa", 28}, {"srv", 33}, {"https", 65}, {"any", 255},
};

static void no_answer(int error)
{
	if (error == EAI_NONAME)
		puts("missing");
	else if (error == EAI_NODATA)
		puts("empty");
	else
		printf("failed %s\n", gai_strerror(error));
}

static void address(const char *name)
{
	struct addrinfo hints, *found;
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	int error = getaddrinfo(name, NULL, &hints, &found);
	if (error) {
		no_answer(error);
		return;
	}
	for (; found; found = found->ai_next) {
		char text[NI_MAXHOST];
		if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
			puts(text);
	}
}

static void reverse(const char *ip)
{
	struct sockaddr_in v4;
	char text[NI_MAXHOST];
	memset(&v4, 0, sizeof v4);
	v4.sin_family = AF_INET;
	inet_pton(AF_INET, ip, &v4.sin_addr);
	int error = getnameinfo((struct sockaddr *)&v4, sizeof v4, text, sizeof text, NULL, 0, NI_NAMEREQD);
	if (error)
		no_answer(error);
	else
		puts(text);
}

/* Prints the type, the data in hexadecimal up to a name that may be compressed, and that name. */
static void print(ns_msg *message, ns_rr *record)
{
	int type = ns_rr_type(*record);
	int name_at = type == 33 ? 6 : type == 15 ? 2 : type == 12 || type == 5 ? 0 : -1;
	const unsigned char *data = ns_rr_rdata(*record), *end = data + ns_rr_rdlen(*record);
	char name[NS_MAXDNAME] = "";
	if (name_at >= 0) {
		end = data + name_at;
		ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), end, name, sizeof name);
	}
	printf("%d ", type);
	while (data < end)
		printf("%02x", *data++);
	printf(" %s\n", name);
}

static void records(const char *word, const char *name)
{
	static unsigned char reply[65535];
	int type = 0, found = 0;
	for (size_t at = 0; at < sizeof TYPES / sizeof *TYPES; at++)
		if (!strcmp(word, TYPES[at].word))
			type = TYPES[at].type;
	int size = res_search(name, ns_c_in, type, reply, sizeof reply);
	if (size < 0) {
		puts(h_errno == HOST_NOT_FOUND ? "missing" : h_errno == NO_DATA ? "empty" : "failed");
		return;
	}
	ns_msg message;
	ns_rr record;
	if (ns_initparse(reply, size, &message)) {
		puts("failed to parse");
		return;
	}
	for (int at = 0; at < ns_msg_count(message, ns_s_an); at++) {
		if (ns_parserr(&message, ns_s_an, at, &record))
			break;
		if (type != ns_t_any && ns_rr_type(record) != type)
			continue;
		print(&message, &record);
		found++;
	}
	if (!found)
		puts("empty");
}

int main(int count, char **words)
{
	for (int at = 1; at + 1 < count; at += 2) {
		if (!strcmp(words[at], "address"))
			address(words[at + 1]);
		else if (!strcmp(words[at], "reverse"))
			reverse(words[at + 1]);
		else
			records(words[at], words[at + 1]);
		puts("--");
	}
	return 0;
}
