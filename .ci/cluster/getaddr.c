// Resolves names as an application does: waits for a common start, then calls getaddrinfo(3) for each name, one
// after the other, and prints one JSON object per name: {"name", "at", "ms", "error", "addresses"}.
// Usage: getaddr START NAME...                  START in seconds since 1970; 0 for now
//        getaddr --every MILLISECONDS NAME...   repeats until SIGTERM, with MILLISECONDS from start to start
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static volatile sig_atomic_t stopped;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

static double now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void wait_until(double time) {
    double wait = time - now(CLOCK_REALTIME);
    if (wait > 0 && !stopped) {
        struct timespec pause = {.tv_sec = (time_t)wait, .tv_nsec = (wait - (time_t)wait) * 1e9};
        nanosleep(&pause, NULL);
    }
}

static int look_up(const char *name) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    double at = now(CLOCK_REALTIME), begin = now(CLOCK_MONOTONIC);
    int error = getaddrinfo(name, "80", &hints, &found);
    double ms = (now(CLOCK_MONOTONIC) - begin) * 1e3;
    printf("{\"name\": \"%s\", \"at\": %.3f, \"ms\": %.2f, \"error\": \"%s\", \"addresses\": [", name, at, ms, error ? gai_strerror(error) : "");
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN];
        void *address = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
                                                : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
        printf("%s\"%s\"", a == found ? "" : ", ", inet_ntop(a->ai_family, address, text, sizeof text));
    }
    puts("]}");
    fflush(stdout);
    if (found) freeaddrinfo(found);
    return error != 0;
}

int main(int count, char **words) {
    int repeats = count > 3 && !strcmp(words[1], "--every");
    if (count < 3 || (!repeats && words[1][0] == '-')) {
        fprintf(stderr, "usage: %s START NAME... | --every MILLISECONDS NAME...\n", words[0]);
        return 64;
    }
    // As process 1 of a container it would otherwise ignore the signal.
    signal(SIGTERM, stop);
    int failed = 0;
    if (repeats) {
        double interval = atof(words[2]) / 1e3;
        for (int i = 3; !stopped; i = i + 1 < count ? i + 1 : 3) {
            double next = now(CLOCK_REALTIME) + interval;
            look_up(words[i]);
            wait_until(next);
        }
        return 0;
    }
    wait_until(atof(words[1]));
    for (int i = 2; i < count; i++) failed += look_up(words[i]);
    return failed ? 1 : 0;
}
