/* lookup KIND NAME by the C library: `address` is getaddrinfo, `ptr` getnameinfo. Prints a line for each answer, or
   `missing`, or `failed` and why. Built with glibc's and with musl's compiler. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int no_answer(int error)
{
	if (error == EAI_NONAME || error == EAI_NODATA)
		puts("missing");
	else
		printf("failed %s\n", gai_strerror(error));
	return 0;
}

static int address(const char *name)
{
	struct addrinfo hints, *found;
	memset(&hints, 0, sizeof hints);
	hints.ai_socktype = SOCK_STREAM;
	int error = getaddrinfo(name, NULL, &hints, &found);
	if (error)
		return no_answer(error);
	for (; found; found = found->ai_next) {
		char text[NI_MAXHOST];
		if (!getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
			puts(text);
	}
	return 0;
}

static int ptr(const char *ip)
{
	struct sockaddr_in v4;
	char text[NI_MAXHOST];
	memset(&v4, 0, sizeof v4);
	v4.sin_family = AF_INET;
	inet_pton(AF_INET, ip, &v4.sin_addr);
	int error = getnameinfo((struct sockaddr *)&v4, sizeof v4, text, sizeof text, NULL, 0, NI_NAMEREQD);
	if (error)
		return no_answer(error);
	puts(text);
	return 0;
}

int main(int count, char **words)
{
	if (count != 3)
		return 64;
	return strcmp(words[1], "ptr") ? address(words[2]) : ptr(words[2]);
}
