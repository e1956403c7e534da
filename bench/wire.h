/* What bench/limit.c and bench/origin.c share: one epoll loop over keep-alive HTTP/1.1 connections.
 *
 * It knows GET heads that end in an empty line, `/KIND/BYTES/NAME` targets and nothing else: a measuring aid
 * for loopback, not a server. Each program supplies `answer`, which points the connection at a ready head and
 * a piece of the shared body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <signal.h>
#include <unistd.h>

enum { IN_ROOM = 16384, HEAD_ROOM = 512, EVENTS = 256, BODY_MAX = 16 << 20, CONNECTIONS_MAX = 4096 };

struct connection {
    int fd, closing, waiting;        /* waiting: EPOLLOUT is asked for */
    size_t have;                     /* request bytes in `in` */
    const char *head;                /* what is left to send */
    size_t head_left;
    const char *body;
    size_t body_left;
    char own_head[HEAD_ROOM];
    char in[IN_ROOM];
};

static char *shared_body;            /* BODY_MAX bytes that every answer is cut from */
static unsigned long long requests;  /* answered so far */
static int poller;
static int connections;

/* Point `c` at the answer to the head `in[0:length]`. */
static void answer(struct connection *c, const char *in, size_t length);

/* The number behind the second slash of `GET /KIND/BYTES/NAME`, at most BODY_MAX. */
static size_t bytes_of(const char *in) {
    const char *p = strchr(in + 5, '/');
    size_t n = p ? strtoull(p + 1, NULL, 10) : 0;
    return n > BODY_MAX ? BODY_MAX : n;
}

static void drop(struct connection *c) {
    close(c->fd);
    free(c);
    connections--;
}

/* 1: all sent, 0: the socket is full, -1: gone. */
static int flush_out(struct connection *c) {
    while (c->head_left + c->body_left) {
        struct iovec iov[2] = {{(void *)c->head, c->head_left}, {(void *)c->body, c->body_left}};
        struct msghdr message = {.msg_iov = c->head_left ? iov : iov + 1,
                                 .msg_iovlen = (c->head_left != 0) + (c->body_left != 0)};
        ssize_t n = message.msg_iovlen == 1
            ? send(c->fd, message.msg_iov->iov_base, message.msg_iov->iov_len, MSG_NOSIGNAL)
            : sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        size_t of_head = (size_t)n < c->head_left ? (size_t)n : c->head_left;
        c->head += of_head;
        c->head_left -= of_head;
        c->body += n - of_head;
        c->body_left -= n - of_head;
    }
    return 1;
}

/* Answer what is buffered; 0 when the connection was dropped. */
static int serve(struct connection *c) {
    for (;;) {
        int sent = flush_out(c);
        if (sent < 0 || (sent == 1 && c->closing)) {
            drop(c);
            return 0;
        }
        if ((sent == 0) != c->waiting) {
            struct epoll_event e = {.events = sent ? EPOLLIN : EPOLLOUT, .data.ptr = c};
            epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
            c->waiting = sent == 0;
        }
        if (sent == 0)
            return 1;
        char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
        if (end == NULL) {
            if (c->have == IN_ROOM - 1) {
                drop(c);
                return 0;
            }
            return 1;
        }
        size_t length = end + 4 - c->in;
        answer(c, c->in, length);
        requests++;
        c->have -= length;
        if (c->have)
            memmove(c->in, c->in + length, c->have);
        c->in[c->have] = 0;
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void take(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = connections < CONNECTIONS_MAX ? malloc(sizeof *c) : NULL;
        if (c == NULL) {
            close(fd);
            continue;
        }
        memset(c, 0, offsetof(struct connection, own_head));
        c->fd = fd;
        connections++;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

/* `PROGRAM PORT`: serves until it is killed or its parent ends. */
int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    shared_body = malloc(BODY_MAX);
    for (size_t i = 0; i < BODY_MAX; i++)
        shared_body[i] = 'a' + i % 26;
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(atoi(argv[1]));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                take(listener);
                continue;
            }
            if (!c->waiting) {
                ssize_t got = recv(c->fd, c->in + c->have, IN_ROOM - 1 - c->have, 0);
                if (got == 0 || (got < 0 && errno != EAGAIN)) {
                    drop(c);
                    continue;
                }
                c->have += got > 0 ? got : 0;
                c->in[c->have] = 0;
            } else if (events[i].events & (EPOLLERR | EPOLLHUP)) {
                drop(c);
                continue;
            }
            serve(c);
        }
    }
}
