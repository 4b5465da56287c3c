/* Calls that are not let go on: threads that are cancelled, and handlers that jump away. */
#include <setjmp.h>

#include "check.h"

static ppipe *end[2];

/* Cancelled before it begins: the first cancellation point is its end. */
static void cancelled(void) {
    int state;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
}

static volatile int is_through;

static void *calls_all(void *name) {
    ppipe *of[2], *other[2];
    char buf[64];
    struct ppipe_info info;
    int n, fd[2];
    CHECK(pipe(fd) == 0);
    cancelled();
    make(of, 0);
    make(other, 0);
    ppipe *again = ppipe_dup(of[1]), *anew = ppipe_reopen(of[0], O_RDWR | O_NONBLOCK);
    ppipe *named = ppipe_open(name, O_RDWR | O_CREAT, 0600);
    CHECK(again != NULL && anew != NULL && named != NULL);
    struct iovec iov = {buf, 8};
    CHECK(ppipe_write(of[1], "12345678", 8) == 8 && ppipe_read(of[0], buf, 8) == 8);
    CHECK(ppipe_writev(of[1], &iov, 1) == 8 && ppipe_readv(of[0], &iov, 1) == 8);
    CHECK(ppipe_send(of[1], buf, 8, 0) == 8 && ppipe_recv(of[0], buf, 64, &info, MSG_PEEK) == 8);
    CHECK(ppipe_nread(of[0], &n) == 0 && n == 8 && ppipe_tee(of[0], other[1], 64, 0) == 8);
    CHECK(ppipe_splice(of[0], other[1], 64, 0) == 8);
    CHECK(ppipe_splice_to_fd(other[0], fd[1], 8, 0) == 8 && ppipe_splice_from_fd(fd[0], other[1], 8, 0) == 8);
    CHECK(ppipe_setsize(of[0], 1 << 20) == 1 << 20 && ppipe_getsize(of[1]) == 1 << 20);
    CHECK(ppipe_setfl(of[0], O_NONBLOCK) == 0 && ppipe_getfl(of[0]) == (O_RDONLY | O_NONBLOCK));
    FAILS(ppipe_read(of[0], buf, 8), EAGAIN);
    /* Long enough to sleep at a bell. */
    FAILS(ppipe_read_timeout(of[0], buf, 8, 800), ETIMEDOUT);
    FAILS(ppipe_recv_timeout(of[0], buf, 8, NULL, 10), ETIMEDOUT);
    CHECK(ppipe_write_timeout(of[1], "1", 1, 10) == 1 && ppipe_send_timeout(of[1], "1", 1, 10) == 1);
    ppipe_pollfd fds[2] = {{of[0], POLLIN, 0}, {other[1], POLLOUT, 0}};
    CHECK(ppipe_poll(fds, 2, -1) == 2);
    fds[0].pipe = anew;
    CHECK(ppipe_read(anew, buf, 1) == 1 && ppipe_read(anew, buf, 1) == 1 && ppipe_poll(fds, 1, 700) == 0);
    ppipe_loan *loan;
    void *room;
    const void *there;
    CHECK(ppipe_reserve(of[1], 8, &loan, &room, 0) == 0 && ppipe_commit(loan, 8, 0) == 0);
    CHECK(ppipe_recv_loan(of[0], &loan, &there, NULL, 0) == 8 && ppipe_return(loan) == 0);
    CHECK(ppipe_reserve(of[1], 8, &loan, &room, 0) == 0 && ppipe_abandon(loan) == 0);
    CHECK(ppipe_sendv(of[1], &iov, 1, 0) == 8 && ppipe_recvv(of[0], &iov, 1, NULL, 0) == 8);
    CHECK(ppipe_fd(of[0]) >= 0);
    int sockets[2];
    struct ppipe_exported exported;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0 && ppipe_send_end(of[1], sockets[0], 0) == 0);
    ppipe *passed = ppipe_recv_end(sockets[1], 0);
    CHECK(passed != NULL && ppipe_close(passed) == 0);
    CHECK(ppipe_export(of[1], "PPIPE_TEST", &exported, O_CLOEXEC) == 0 && ppipe_unexport(&exported) == 0);
    ppipe *all[] = {of[0], of[1], other[0], other[1], again, anew, named};
    for (int i = 0; i < 7; i++)
        CHECK(ppipe_close(all[i]) == 0);
    FAILS(ppipe_unlink(name), ENOENT);
    is_through = 1;
    pthread_testcancel();
    return NULL;
}

static void no_function_is_a_cancellation_point(void) {
    pthread_t thread;
    void *ended;
    char name[64];
    snprintf(name, sizeof name, "test-%d-cancels", (int)getpid());
    CHECK(pthread_create(&thread, NULL, calls_all, name) == 0);
    CHECK(pthread_join(thread, &ended) == 0 && ended == PTHREAD_CANCELED && is_through);
}

static void *reads(void *p) {
    char c;
    CHECK(ppipe_read(p, &c, 1) == 1);
    pthread_testcancel();
    return NULL;
}

/* Cancelled in its sleep, it has given back what it had: nobody reads any more once the handle is closed. */
static void a_thread_that_is_cancelled_leaves_the_pipe_whole(void) {
    pthread_t thread, other;
    void *ended;
    make(end, 0);
    CHECK(pthread_create(&thread, NULL, reads, end[0]) == 0 && pthread_create(&other, NULL, reads, end[0]) == 0);
    /* Now they sleep at a bell. */
    usleep(1000000);
    CHECK(pthread_cancel(thread) == 0 && pthread_cancel(other) == 0);
    CHECK(ppipe_write(end[1], "12", 2) == 2);
    CHECK(pthread_join(thread, &ended) == 0 && ended == PTHREAD_CANCELED);
    CHECK(pthread_join(other, &ended) == 0 && ended == PTHREAD_CANCELED);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

static sigjmp_buf away;

static void jumps(int signal) {
    (void)signal;
    siglongjmp(away, 1);
}

/* Out of the handler of a broken pipe, which is sent when the call is over: there is as much left as before. */
static void a_handler_of_a_broken_pipe_can_jump_away(void) {
    ppipe *from[2];
    signal(SIGPIPE, jumps);
    make(end, 0);
    make(from, 0);
    CHECK(ppipe_write(from[1], "x", 1) == 1);
    CHECK(ppipe_setfl(end[1], PPIPE_SIGPIPE) == 0 && ppipe_close(end[0]) == 0);
    /* More often than a pipe has places. */
    for (volatile int i = 0; i < 300; i++) {
        if (sigsetjmp(away, 1) == 0) {
            if (i % 3 == 0)
                ppipe_write(end[1], "x", 1);
            else if (i % 3 == 1)
                ppipe_send(end[1], "x", 1, 0);
            else
                ppipe_splice(from[0], end[1], 1, 0);
            CHECK(!"it is sent");
        }
    }
    ppipe *reader = ppipe_reopen(end[1], O_RDONLY | O_NONBLOCK);
    CHECK(reader != NULL && ppipe_write(end[1], "x", 1) == 1 && ppipe_close(end[1]) == 0);
    char buf[2];
    CHECK(ppipe_read(reader, buf, 2) == 1 && ppipe_read(reader, buf, 2) == 0);
    CHECK(ppipe_close(reader) == 0 && ppipe_close(from[0]) == 0 && ppipe_close(from[1]) == 0);
}

int main(void) {
    no_function_is_a_cancellation_point();
    a_thread_that_is_cancelled_leaves_the_pipe_whole();
    a_handler_of_a_broken_pipe_can_jump_away();
    return 0;
}
