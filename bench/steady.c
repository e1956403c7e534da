/* An open loop: requests of one head at a fixed rate over keep-alive connections, whatever became of those before.
 *
 *   steady PORT RATE SECONDS CONNECTIONS BYTES < head
 *
 * Request i is due at begin + i / RATE. It leaves on a free connection at once, else on the next one that becomes
 * free, and its latency counts from when it was due. The first WARM of the time does not count. BYTES is the length of
 * every whole answer's body; the head ends where it ends. It spins: its core is its own, and a sleep would be coarser
 * than what is measured. What it reads it stamps when epoll has told of it, before it looks at any of it, so that a
 * batch of answers does not wait for its own first ones.
 *
 * Prints one line of JSON, times in µs: due, answered, errors, p50_us, p99_us, p999_us, max_us; late_p99_us, how late a
 * request left although a connection was free (the loop's own fault); stall_share, the share of the time in which the
 * loop stood still for more than STALL (its core was taken away, which is nobody's fault). What is unanswered at the
 * end counts as an error, and in the percentiles with as long as it has waited.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define FINE 7                    /* 2^FINE buckets for each power of two of ns: within 0.8 % */
#define BUCKETS ((40 - FINE) << FINE) /* up to 2^39 ns */
#define ROOM 65536
#define WARM 0.1
#define STALL 100000              /* ns */

struct connection {
    int fd, busy, matched;       /* matched: bytes of the blank line seen so far */
    long left;                   /* of the body, once the head is whole; -1 before */
    int64_t begin;
};

static struct connection *all, **idle;
static long idle_count, sent, answered, failed;
static unsigned times[BUCKETS], late[BUCKETS];
static int64_t counted_from, longest;
static char head[ROOM], in[1 << 18];
static size_t head_size;
static long body;
static int port;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* `ns` of what was due at `due`. */
static void count(unsigned *into, int64_t ns, int64_t due) {
    if (due < counted_from) return;
    if (ns < 1 << FINE) {
        into[ns < 0 ? 0 : ns]++;
        return;
    }
    int shift = 63 - __builtin_clzll(ns) - FINE;
    long at = ((long)(shift + 1) << FINE) + ((ns >> shift) - (1 << FINE));
    into[at < BUCKETS ? at : BUCKETS - 1]++;
}

/* The upper end of a bucket, in µs. */
static double upper(long at) {
    if (at < 1 << FINE) return (at + 1) / 1e3;
    int shift = (at >> FINE) - 1;
    return (double)(((at & ((1 << FINE) - 1)) + (1 << FINE) + 1) << shift) / 1e3;
}

static double percentile(const unsigned *of, double share) {
    uint64_t whole = 0, seen = 0;
    for (long i = 0; i < BUCKETS; i++) whole += of[i];
    uint64_t rank = (uint64_t)(whole * share + 0.999999);
    for (long i = 0; i < BUCKETS; i++)
        if ((seen += of[i]) >= rank && whole) return upper(i);
    return 0;
}

static void start(struct connection *c, int epoll) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) {
        perror("steady: connect");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    c->busy = 0;
    idle[idle_count++] = c;
}

static void ask(struct connection *c, int64_t begin) {
    c->busy = 1;
    c->begin = begin;
    c->left = -1;
    c->matched = 0;
    sent++;
    if (write(c->fd, head, head_size) != (ssize_t)head_size) failed++, c->busy = 2; /* its end will come by epoll */
}

/* Whether the answer is whole; -1 when there is something behind it. */
static int eat(struct connection *c, const char *p, long n) {
    static const char blank[] = "\r\n\r\n";
    while (c->left < 0 && n) {
        if (*p == blank[c->matched]) {
            if (++c->matched == 4) c->left = body;
        } else
            c->matched = *p == '\r';
        p++, n--;
    }
    if (c->left < 0) return 0;
    c->left -= n;
    return c->left < 0 ? -1 : c->left == 0;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: steady PORT RATE SECONDS CONNECTIONS BYTES < head\n");
        return 2;
    }
    port = atoi(argv[1]);
    double period = 1e9 / atof(argv[2]);
    double seconds = atof(argv[3]);
    int connections = atoi(argv[4]);
    body = atol(argv[5]);
    head_size = fread(head, 1, ROOM, stdin);
    all = calloc(connections, sizeof *all);
    idle = calloc(connections, sizeof *idle);
    int epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++) start(&all[i], epoll);

    int64_t begin = now_ns(), end = begin + (int64_t)(seconds * 1e9), now, last = begin, stalled = 0;
    counted_from = begin + (int64_t)(seconds * WARM * 1e9);
    while ((now = now_ns()) < end) {
        int64_t due;
        if (now - last > STALL) stalled += now - last;
        last = now;
        while (idle_count && (due = begin + (int64_t)(sent * period)) <= now) {
            count(late, now - due, due);
            ask(idle[--idle_count], due);
        }
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 0);
        if (ready > 0) now = now_ns();
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t n = read(c->fd, in, sizeof in);
            if (n < 0 && errno == EAGAIN) continue;
            int whole = n > 0 && c->busy == 1 ? eat(c, in, n) : -1;
            if (whole == 0) continue;
            if (whole < 0) {
                if (c->busy == 1) failed++;
                int was_idle = !c->busy;
                close(c->fd);
                if (was_idle)
                    for (long k = 0; k < idle_count; k++)
                        if (idle[k] == c) { idle[k] = idle[--idle_count]; break; }
                start(c, epoll);
                continue;
            }
            count(times, now - c->begin, c->begin);
            if (now - c->begin > longest && c->begin >= counted_from) longest = now - c->begin;
            answered++;
            c->busy = 0;
            due = begin + (int64_t)(sent * period);
            if (due <= now && now < end) ask(c, due);
            else idle[idle_count++] = c;
        }
    }
    long wanted = (long)((end - begin) / period);
    for (int i = 0; i < connections; i++)
        if (all[i].busy == 1) failed++, count(times, end - all[i].begin, all[i].begin);
    for (long i = sent; i < wanted; i++) {
        int64_t due = begin + (int64_t)(i * period);
        failed++, count(times, end - due, due);
        if (end - due > longest) longest = end - due;
    }
    printf("{\"due\": %ld, \"answered\": %ld, \"errors\": %ld, \"late_p99_us\": %.1f, \"stall_share\": %.5f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           sent > wanted ? sent : wanted, answered, failed, percentile(late, 0.99), (double)stalled / (end - begin),
           percentile(times, 0.5), percentile(times, 0.99), percentile(times, 0.999), longest / 1e3);
    return 0;
}
