/* What the load client and the scripted upstream share: time, growing buffers, sockets. Linux, one thread, epoll. */
#ifndef NET_H
#define NET_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdarg.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK '@'      /* before each delta's stamp: 16 hexadecimal digits of CLOCK_MONOTONIC in nanoseconds */
#define STAMP_SIZE 16

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

typedef struct {
    char *data;
    size_t size, room, begin; /* begin: where what is not used up yet begins */
} buffer;

static inline char *reserve(buffer *to, size_t more) {
    if (to->size + more > to->room) {
        to->room = (to->size + more) * 2;
        to->data = realloc(to->data, to->room);
        if (!to->data) abort();
    }
    return to->data + to->size;
}

static inline void append(buffer *to, const char *data, size_t size) {
    memcpy(reserve(to, size), data, size);
    to->size += size;
}

static inline void forget(buffer *of) { of->size = of->begin = 0; }

static inline void release(buffer *of) {
    free(of->data);
    memset(of, 0, sizeof *of);
}

static inline void many_files(void) {
    struct rlimit limit;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void watch(int epoll, int how, int fd, uint32_t events, void *who) {
    struct epoll_event event = {.events = events, .data.ptr = who};
    epoll_ctl(epoll, how, fd, &event);
}
#endif
