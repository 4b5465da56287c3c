/* No call that moves, looks or waits asks for memory. Every function is called here, and those that may allocate are named. */
#include "check.h"

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *old, size_t n);
extern void *__libc_memalign(size_t to, size_t n);

/* Of the calling thread. */
static __thread int counted;

/* These are the program's, and so the libraries' too. */
void *malloc(size_t n) {
    counted++;
    return __libc_malloc(n);
}

void *calloc(size_t count, size_t n) {
    counted++;
    return __libc_calloc(count, n);
}

void *realloc(void *old, size_t n) {
    counted++;
    return __libc_realloc(old, n);
}

void *aligned_alloc(size_t to, size_t n) {
    counted++;
    return __libc_memalign(to, n);
}

int posix_memalign(void **start, size_t to, size_t n) {
    counted++;
    *start = __libc_memalign(to, n);
    return *start == NULL ? ENOMEM : 0;
}

/* The call does so, and asks for no memory. */
#define NO_MEMORY(call)                                                                            \
    do {                                                                                           \
        int before = counted;                                                                      \
        CHECK(call);                                                                               \
        if (counted != before) {                                                                   \
            fprintf(stderr, "%s:%d: %s asks for memory %d times\n", __FILE__, __LINE__, #call, counted - before); \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* So each of these is seen to be counted. */
#define SOME_MEMORY(call)                                                                          \
    do {                                                                                           \
        int before = counted;                                                                      \
        CHECK(call);                                                                               \
        CHECK(counted > before);                                                                   \
    } while (0)

enum { MOST_BUFFERS = 1024, FEW_HANDLES = 32 };
static char big[70000], other[70000];
static struct iovec many[MOST_BUFFERS], one[1] = {{other, 64}};
static struct ppipe_info info[MOST_BUFFERS];

static void streams(ppipe *r, ppipe *w) {
    int n;
    NO_MEMORY(ppipe_write(w, big, 100) == 100 && ppipe_write(w, big, 10000) == 10000);
    NO_MEMORY(ppipe_read(r, other, sizeof other) == 10100);
    NO_MEMORY(ppipe_writev(w, many, MOST_BUFFERS) == MOST_BUFFERS);
    NO_MEMORY(ppipe_nread(r, &n) == 0 && n == MOST_BUFFERS && ppipe_nread(w, &n) == 0);
    NO_MEMORY(ppipe_readv(r, many, MOST_BUFFERS) == MOST_BUFFERS);
    NO_MEMORY(ppipe_write_timeout(w, big, 10, 10) == 10 && ppipe_read_timeout(r, other, 10, 10) == 10);
    NO_MEMORY(ppipe_getfl(r) == (O_RDONLY | O_NONBLOCK) && ppipe_getfl(w) == (O_WRONLY | O_NONBLOCK));
    NO_MEMORY(ppipe_setfl(w, O_DIRECT | O_NONBLOCK) == 0 && ppipe_setfl(w, O_NONBLOCK) == 0);
    NO_MEMORY(ppipe_getsize(r) == 65536 && ppipe_getsize(w) == 65536);
    NO_MEMORY(ppipe_leave_sigbus() == -1 && errno == EBUSY);
    NO_MEMORY(ppipe_setsize(w, 131072) == 131072 && ppipe_setsize(r, 65536) == 65536);
    NO_MEMORY(ppipe_read(r, other, 1) == -1 && errno == EAGAIN);
    NO_MEMORY(ppipe_read_timeout(r, other, 1, 1) == -1 && errno == ETIMEDOUT);
    NO_MEMORY(ppipe_read(w, other, 1) == -1 && errno == EBADF);
    NO_MEMORY(ppipe_read(NULL, other, 1) == -1 && errno == EBADF);
    NO_MEMORY(ppipe_write(w, NULL, 1) == -1 && errno == EFAULT);
}

static void messages(ppipe *r, ppipe *w) {
    NO_MEMORY(ppipe_send(w, big, 10, 0) == 10 && ppipe_send(w, big, 50000, MSG_DONTWAIT) == 50000);
    NO_MEMORY(ppipe_recv(r, other, 5, info, MSG_PEEK) == 5);
    NO_MEMORY(ppipe_recv(r, other, 5, info, PPIPE_EXACT) == -1 && errno == EMSGSIZE);
    NO_MEMORY(ppipe_recv(r, other, 5, info, PPIPE_KEEP) == 5 && ppipe_recv(r, other, 5, info, 0) == 5);
    NO_MEMORY(ppipe_recv(r, other, sizeof other, info, MSG_DONTWAIT) == 50000 && info[0].sender == getpid());
    NO_MEMORY(ppipe_sendv(w, many, MOST_BUFFERS, 0) == MOST_BUFFERS);
    NO_MEMORY(ppipe_recvv(r, many, MOST_BUFFERS, info, 0) == MOST_BUFFERS);
    NO_MEMORY(ppipe_send_timeout(w, big, 10, 10) == 10 && ppipe_recv_timeout(r, other, 10, info, 10) == 10);
    NO_MEMORY(ppipe_send_batch(w, many, MOST_BUFFERS, 0) == 16);
    NO_MEMORY(ppipe_send_batch(w, many, 1, 0) == -1 && errno == EAGAIN);
    NO_MEMORY(ppipe_recv_batch(r, many, info, MOST_BUFFERS, 0) == 16);
    NO_MEMORY(ppipe_recv_batch(r, many, info, 1, 0) == -1 && errno == EAGAIN);
}

static void loans(ppipe *r, ppipe *w, int is_first) {
    ppipe_loan *loan[2];
    void *start;
    const void *there;
    if (is_first) {
        /* One end for each loan that is out at a time. */
        SOME_MEMORY(ppipe_reserve(w, 5, &loan[0], &start, 0) == 0 && ppipe_commit(loan[0], 5, 0) == 0);
        SOME_MEMORY(ppipe_recv_loan(r, &loan[0], &there, info, 0) == 5 && ppipe_return(loan[0]) == 0);
    }
    NO_MEMORY(ppipe_reserve(w, 5, &loan[0], &start, 0) == 0 && ppipe_commit(loan[0], 5, 0) == 0);
    NO_MEMORY(ppipe_reserve(w, 50000, &loan[0], &start, 0) == 0 && ppipe_abandon(loan[0]) == 0);
    NO_MEMORY(ppipe_recv_loan(r, &loan[0], &there, info, 0) == 5 && ppipe_return(loan[0]) == 0);
    NO_MEMORY(ppipe_recv_loan(r, &loan[0], &there, info, MSG_DONTWAIT) == -1 && errno == EAGAIN);
}

static void transfers(ppipe *r, ppipe *w) {
    ppipe *end[2];
    int fd[2];
    make(end, O_NONBLOCK);
    CHECK(pipe2(fd, O_NONBLOCK) == 0 && write(fd[1], big, 100) == 100);
    NO_MEMORY(ppipe_send(w, big, 10, 0) == 10 && ppipe_write(w, big, 5000) == 5000);
    NO_MEMORY(ppipe_tee(r, end[1], 1000, 0) == 1000 && ppipe_splice(r, end[1], 9000, 0) == 5010);
    NO_MEMORY(ppipe_splice_from_fd(fd[0], end[1], 1000, 0) == 100 && ppipe_splice_to_fd(end[0], fd[1], 9000, 0) == 6110);
    NO_MEMORY(ppipe_splice(r, end[1], 1, 0) == -1 && errno == EAGAIN);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0 && close(fd[0]) == 0 && close(fd[1]) == 0);
}

static void polls(ppipe *r, ppipe *w) {
    ppipe_pollfd fds[FEW_HANDLES];
    for (int i = 0; i < FEW_HANDLES; i++)
        fds[i] = (ppipe_pollfd){i == 3 ? NULL : r, POLLIN, 0};
    NO_MEMORY(ppipe_poll(fds, FEW_HANDLES, 0) == 0 && ppipe_poll(fds, FEW_HANDLES, 10) == 0);
    fds[0] = (ppipe_pollfd){w, POLLOUT, 0};
    NO_MEMORY(ppipe_poll(fds, FEW_HANDLES, -1) == 1);
}

/* One who waits for more than half a second goes on at descriptors, which are made once. */
static void long_polls(void) {
    ppipe *end[2];
    make(end, 0);
    ppipe_pollfd fds[1] = {{end[0], POLLIN, 0}};
    /* On a busy machine ten sleeps, after which it does, take longer than they should. */
    int before = counted;
    for (int i = 0; i < 100 && counted == before; i++)
        CHECK(ppipe_poll(fds, 1, 700) == 0);
    CHECK(counted > before);
    NO_MEMORY(ppipe_poll(fds, 1, 700) == 0);
    CHECK(ppipe_send(end[1], "x", 1, 0) == 1);
    NO_MEMORY(ppipe_poll(fds, 1, -1) == 1);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

/* What makes handles or descriptors may. */
static void those_that_make_something(void) {
    ppipe *end[2], *p;
    struct ppipe_exported exported;
    char name[64];
    int fd[2], socket[2];
    snprintf(name, sizeof name, "test-%d-allocations", (int)getpid());
    SOME_MEMORY(ppipe_pipe2(end, 0) == 0);
    SOME_MEMORY((p = ppipe_dup(end[0])) != NULL && ppipe_close(p) == 0);
    SOME_MEMORY((p = ppipe_reopen(end[0], O_RDONLY)) != NULL && ppipe_close(p) == 0);
    SOME_MEMORY((p = ppipe_open(name, O_RDWR | O_CREAT, 0600)) != NULL && ppipe_unlink(name) == 0 && ppipe_close(p) == 0);
    SOME_MEMORY((fd[0] = ppipe_fd(end[0])) >= 0);
    NO_MEMORY(ppipe_fd(end[0]) == fd[0]);
    SOME_MEMORY(ppipe_export(end[0], "END", &exported, O_CLOEXEC) == 0);
    NO_MEMORY(ppipe_unexport(&exported) == 0);
    CHECK(ppipe_inherit("NO_SUCH_END") == NULL && errno == ENOENT);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socket) == 0);
    SOME_MEMORY(ppipe_send_end(end[0], socket[0], 0) == 0);
    SOME_MEMORY((p = ppipe_recv_end(socket[1], 0)) != NULL && ppipe_close(p) == 0);
    CHECK(close(socket[0]) == 0 && close(socket[1]) == 0 && ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

/* One who waits, each in a thread of its own and with a pipe of its own; it is let go after more than half a second, from when on one sleeps in another way. */
struct waits {
    const char *name;
    ssize_t (*call)(struct waits *);
    int is_for_room;
    ppipe *end[2], *further[2];
    int fd[2];
    ppipe_loan *loan;
    pthread_t thread;
};

#define WAITS(name, call)                                                                          \
    static ssize_t name(struct waits *w) { return call; }

WAITS(waits_in_read, ppipe_read(w->end[0], other, 64))
WAITS(waits_in_readv, ppipe_readv(w->end[0], one, 1))
WAITS(waits_in_read_timeout, ppipe_read_timeout(w->end[0], other, 64, 20000))
WAITS(waits_in_recv, ppipe_recv(w->end[0], other, 64, info, 0))
WAITS(waits_in_peek, ppipe_recv(w->end[0], other, 64, info, MSG_PEEK))
WAITS(waits_in_recvv, ppipe_recvv(w->end[0], one, 1, info, 0))
WAITS(waits_in_recv_timeout, ppipe_recv_timeout(w->end[0], other, 64, info, 20000))
WAITS(waits_in_recv_batch, ppipe_recv_batch(w->end[0], many, info, 4, 0))
WAITS(waits_in_tee, ppipe_tee(w->end[0], w->further[1], 64, 0))
WAITS(waits_in_splice, ppipe_splice(w->end[0], w->further[1], 64, 0))
WAITS(waits_in_splice_to_fd, ppipe_splice_to_fd(w->end[0], w->fd[1], 64, 0))
WAITS(waits_in_write, ppipe_write(w->end[1], big, 1))
WAITS(waits_in_writev, ppipe_writev(w->end[1], many, 1))
WAITS(waits_in_write_timeout, ppipe_write_timeout(w->end[1], big, 1, 20000))
WAITS(waits_in_send, ppipe_send(w->end[1], big, 1, 0))
WAITS(waits_in_large_send, ppipe_send(w->end[1], big, 4097, 0) == 4097)
WAITS(waits_in_sendv, ppipe_sendv(w->end[1], many, 1, 0))
WAITS(waits_in_send_timeout, ppipe_send_timeout(w->end[1], big, 1, 20000))
WAITS(waits_in_send_batch, ppipe_send_batch(w->end[1], many, 1, 0))
WAITS(waits_in_splice_from_fd, ppipe_splice_from_fd(w->fd[0], w->end[1], 1, 0))
WAITS(waits_in_commit, ppipe_commit(w->loan, 1, 0) + 1)

static struct waits waiting[] = {
#define ROW(name, is_for_room) {#name, name, is_for_room, {0}, {0}, {0}, NULL, 0}
    ROW(waits_in_read, 0),         ROW(waits_in_readv, 0),        ROW(waits_in_read_timeout, 0),
    ROW(waits_in_recv, 0),         ROW(waits_in_peek, 0),         ROW(waits_in_recvv, 0),
    ROW(waits_in_recv_timeout, 0), ROW(waits_in_recv_batch, 0),   ROW(waits_in_tee, 0),
    ROW(waits_in_splice, 0),       ROW(waits_in_splice_to_fd, 0), ROW(waits_in_write, 1),
    ROW(waits_in_writev, 1),       ROW(waits_in_write_timeout, 1), ROW(waits_in_send, 1),
    ROW(waits_in_large_send, 1),   ROW(waits_in_sendv, 1),        ROW(waits_in_send_timeout, 1),
    ROW(waits_in_send_batch, 1),   ROW(waits_in_splice_from_fd, 1), ROW(waits_in_commit, 1),
};
enum { WAITING = sizeof waiting / sizeof *waiting };

static void *waits(void *row) {
    struct waits *w = row;
    int before = counted;
    ssize_t done = w->call(w);
    if (done != 1 || counted != before) {
        fprintf(stderr, "%s: %zd, errno %d, asks for memory %d times\n", w->name, done, errno, counted - before);
        _exit(1);
    }
    return NULL;
}

static void those_that_wait(void) {
    for (struct waits *w = waiting; w < waiting + WAITING; w++) {
        void *start;
        make(w->end, 0);
        make(w->further, 0);
        CHECK(pipe(w->fd) == 0 && write(w->fd[1], "x", 1) == 1);
        CHECK(ppipe_reserve(w->end[1], 1, &w->loan, &start, 0) == 0);
        while (w->is_for_room && ppipe_send(w->end[1], "x", 1, MSG_DONTWAIT) == 1)
            ;
        CHECK(pthread_create(&w->thread, NULL, waits, w) == 0);
    }
    usleep(900000);
    for (struct waits *w = waiting; w < waiting + WAITING; w++) {
        char c;
        if (w->is_for_room)
            CHECK(ppipe_recv(w->end[0], &c, 1, NULL, 0) == 1);
        else
            CHECK(ppipe_send(w->end[1], "x", 1, 0) == 1);
    }
    for (struct waits *w = waiting; w < waiting + WAITING; w++) {
        CHECK(pthread_join(w->thread, NULL) == 0);
        ppipe_abandon(w->loan);
        for (int i = 0; i < 2; i++)
            CHECK(ppipe_close(w->end[i]) == 0 && ppipe_close(w->further[i]) == 0 && close(w->fd[i]) == 0);
    }
}

/* A thread that has never called anything. */
static void *all(void *end) {
    ppipe *r = ((ppipe **)end)[0], *w = ((ppipe **)end)[1];
    streams(r, w);
    messages(r, w);
    loans(r, w, 0);
    polls(r, w);
    return NULL;
}

int main(void) {
    ppipe *end[2];
    pthread_t thread;
    for (int i = 0; i < MOST_BUFFERS; i++)
        many[i] = (struct iovec){other, 1};
    make(end, O_NONBLOCK);
    streams(end[0], end[1]);
    messages(end[0], end[1]);
    loans(end[0], end[1], 1);
    transfers(end[0], end[1]);
    polls(end[0], end[1]);
    CHECK(pthread_create(&thread, NULL, all, end) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
    long_polls();
    those_that_make_something();
    those_that_wait();
    return 0;
}
