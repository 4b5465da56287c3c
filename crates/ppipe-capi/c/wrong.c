/* What each function says to what is no handle, or none of that kind; where the kernel has such a call, it says what is right. */
#include <sys/ioctl.h>

#include "check.h"

static char buf[64];
static struct iovec iov[1] = {{buf, 1}}, many[1025];
static struct ppipe_info info;
static struct ppipe_exported exported;
static ppipe_loan *loan;
static void *start;
static const void *there;
static int n;
/* Of which the compiler does not know that they are wrong. */
static volatile int less_than_none = -1;
static struct iovec *volatile nowhere;
/* A good end of either side of another pipe, and descriptors of one of the kernel's. */
static ppipe *good[2];
static int good_fd[2];

/* 0, or the error. */
#define OURS(name, call)                                                                           \
    static int name(ppipe *p) {                                                                    \
        errno = 0;                                                                                 \
        return (call) ? errno : 0;                                                                 \
    }
#define KERNELS(name, call)                                                                        \
    static int name(int fd) {                                                                      \
        errno = 0;                                                                                 \
        return (call) == -1 ? errno : 0;                                                           \
    }

OURS(reads, ppipe_read(p, buf, 1) == -1)
OURS(reads_nothing, ppipe_read(p, buf, 0) == -1)
OURS(reads_to_nowhere, ppipe_read(p, NULL, 1) == -1)
OURS(reads_vectors, ppipe_readv(p, iov, 1) == -1)
OURS(reads_too_many, ppipe_readv(p, many, 1025) == -1)
OURS(reads_less_than_none, ppipe_readv(p, many, -1) == -1)
OURS(reads_vectors_of_nowhere, ppipe_readv(p, NULL, 1) == -1)
OURS(reads_in_time, ppipe_read_timeout(p, buf, 1, 0) == -1)
OURS(writes, ppipe_write(p, buf, 1) == -1)
OURS(writes_nothing, ppipe_write(p, buf, 0) == -1)
OURS(writes_vectors, ppipe_writev(p, iov, 1) == -1)
OURS(writes_too_many, ppipe_writev(p, many, 1025) == -1)
OURS(writes_less_than_none, ppipe_writev(p, many, -1) == -1)
OURS(writes_vectors_of_nowhere, ppipe_writev(p, NULL, 1) == -1)
OURS(writes_in_time, ppipe_write_timeout(p, buf, 1, 0) == -1)
OURS(sends, ppipe_send(p, buf, 1, 0) == -1)
OURS(sends_vectors, ppipe_sendv(p, iov, 1, 0) == -1)
OURS(sends_in_time, ppipe_send_timeout(p, buf, 1, 0) == -1)
OURS(sends_a_batch, ppipe_send_batch(p, iov, 1, 0) == -1)
OURS(receives, ppipe_recv(p, buf, 1, &info, MSG_DONTWAIT) == -1)
OURS(receives_vectors, ppipe_recvv(p, iov, 1, &info, MSG_DONTWAIT) == -1)
OURS(receives_in_time, ppipe_recv_timeout(p, buf, 1, &info, 0) == -1)
OURS(receives_a_batch, ppipe_recv_batch(p, iov, &info, 1, MSG_DONTWAIT) == -1)
OURS(reserves, ppipe_reserve(p, 1, &loan, &start, 0) == -1)
OURS(receives_a_loan, ppipe_recv_loan(p, &loan, &there, &info, MSG_DONTWAIT) == -1)
OURS(says_flags, ppipe_getfl(p) == -1)
OURS(sets_flags, ppipe_setfl(p, O_NONBLOCK) == -1)
OURS(says_size, ppipe_getsize(p) == -1)
OURS(sets_size, ppipe_setsize(p, 4096) == -1)
OURS(counts, ppipe_nread(p, &n) == -1)
OURS(counts_to_nowhere, ppipe_nread(p, NULL) == -1)
OURS(has_a_descriptor, ppipe_fd(p) == -1)
OURS(copies, ppipe_tee(p, good[1], 1, 0) == -1)
OURS(is_copied_to, ppipe_tee(good[0], p, 1, 0) == -1)
OURS(copies_nothing, ppipe_tee(p, p, 0, ~0u) == -1)
OURS(copies_as_nobody_can, ppipe_tee(p, p, 1, 16) == -1)
OURS(moves, ppipe_splice(p, good[1], 1, 0) == -1)
OURS(is_moved_to, ppipe_splice(good[0], p, 1, 0) == -1)
OURS(moves_nothing, ppipe_splice(p, p, 0, ~0u) == -1)
OURS(moves_as_nobody_can, ppipe_splice(p, p, 1, 16) == -1)
OURS(moves_to_a_descriptor, ppipe_splice_to_fd(p, good_fd[1], 1, 0) == -1)
OURS(moves_from_a_descriptor, ppipe_splice_from_fd(good_fd[0], p, 1, 0) == -1)
OURS(sends_an_end, ppipe_send_end(p, good_fd[0], ~0) == -1)
OURS(exports, ppipe_export(p, "END", &exported, ~0) == -1)
OURS(duplicates, ppipe_dup(p) == NULL)
OURS(reopens, ppipe_reopen(p, O_RDONLY) == NULL)
OURS(reopens_neither, ppipe_reopen(p, O_ACCMODE) == NULL)
OURS(reopens_for_packets, ppipe_reopen(p, O_RDONLY | O_DIRECT) == NULL)
OURS(reopens_a_directory, ppipe_reopen(p, O_RDONLY | O_DIRECTORY) == NULL)
OURS(closes, ppipe_close(p) == -1)

KERNELS(fd_reads, read(fd, buf, 1))
KERNELS(fd_reads_nothing, read(fd, buf, 0))
KERNELS(fd_reads_vectors, readv(fd, iov, 1))
KERNELS(fd_reads_too_many, readv(fd, many, 1025))
KERNELS(fd_reads_less_than_none, readv(fd, many, less_than_none))
KERNELS(fd_reads_vectors_of_nowhere, readv(fd, nowhere, 1))
KERNELS(fd_writes, write(fd, buf, 1))
KERNELS(fd_writes_nothing, write(fd, buf, 0))
KERNELS(fd_writes_vectors, writev(fd, iov, 1))
KERNELS(fd_writes_too_many, writev(fd, many, 1025))
KERNELS(fd_writes_less_than_none, writev(fd, many, less_than_none))
KERNELS(fd_writes_vectors_of_nowhere, writev(fd, nowhere, 1))
KERNELS(fd_sends, write(fd, buf, 1))
KERNELS(fd_receives, read(fd, buf, 1))
KERNELS(fd_says_flags, fcntl(fd, F_GETFL))
KERNELS(fd_sets_flags, fcntl(fd, F_SETFL, O_NONBLOCK))
KERNELS(fd_says_size, fcntl(fd, F_GETPIPE_SZ))
KERNELS(fd_sets_size, fcntl(fd, F_SETPIPE_SZ, 4096))
KERNELS(fd_counts, ioctl(fd, FIONREAD, &n))
KERNELS(fd_counts_to_nowhere, ioctl(fd, FIONREAD, NULL))
KERNELS(fd_copies, tee(fd, good_fd[1], 1, 0))
KERNELS(fd_is_copied_to, tee(good_fd[0], fd, 1, 0))
KERNELS(fd_copies_nothing, tee(fd, fd, 0, ~0u))
KERNELS(fd_copies_as_nobody_can, tee(fd, fd, 1, 16))
KERNELS(fd_moves, splice(fd, NULL, good_fd[1], NULL, 1, 0))
KERNELS(fd_is_moved_to, splice(good_fd[0], NULL, fd, NULL, 1, 0))
KERNELS(fd_moves_nothing, splice(fd, NULL, fd, NULL, 0, ~0u))
KERNELS(fd_moves_as_nobody_can, splice(fd, NULL, fd, NULL, 1, 16))
KERNELS(fd_duplicates, dup(fd))
KERNELS(fd_closes, close(fd))

static int reopened(int fd, int oflags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    errno = 0;
    /* There is no file of a descriptor that is not open. */
    return open(path, oflags) != -1 ? 0 : errno == ENOENT ? EBADF : errno;
}

static int fd_reopens(int fd) {
    return reopened(fd, O_RDONLY | O_NONBLOCK);
}

static int fd_reopens_neither(int fd) {
    return reopened(fd, O_ACCMODE);
}

static int fd_reopens_for_packets(int fd) {
    return reopened(fd, O_RDONLY | O_DIRECT);
}

static int fd_reopens_a_directory(int fd) {
    return reopened(fd, O_RDONLY | O_DIRECTORY);
}

static const struct row {
    const char *name;
    int (*of_ours)(ppipe *);
    /* Null where there is no such call: then it is EBADF, and what the last column says of a reading and a writing end. */
    int (*of_kernel)(int);
    int of_reader, of_writer;
} rows[] = {
#define SAME(name) {#name, name, fd_##name, 0, 0}
#define LIKE(name, kernels) {#name, name, kernels, 0, 0}
#define ALONE(name, of_reader, of_writer) {#name, name, NULL, of_reader, of_writer}
    SAME(reads), SAME(reads_nothing), LIKE(reads_to_nowhere, fd_reads), SAME(reads_vectors), SAME(reads_too_many),
    SAME(reads_less_than_none), SAME(reads_vectors_of_nowhere), ALONE(reads_in_time, ETIMEDOUT, EBADF),
    SAME(writes), SAME(writes_nothing), SAME(writes_vectors), SAME(writes_too_many), SAME(writes_less_than_none),
    SAME(writes_vectors_of_nowhere), ALONE(writes_in_time, EBADF, 0), SAME(sends), LIKE(sends_vectors, fd_sends),
    ALONE(sends_in_time, EBADF, 0), LIKE(sends_a_batch, fd_sends), SAME(receives), LIKE(receives_vectors, fd_receives),
    ALONE(receives_in_time, ETIMEDOUT, EBADF), LIKE(receives_a_batch, fd_receives), ALONE(reserves, EBADF, 0),
    ALONE(receives_a_loan, EAGAIN, EBADF), SAME(says_flags), SAME(sets_flags), SAME(says_size), SAME(sets_size),
    SAME(counts), SAME(counts_to_nowhere), ALONE(has_a_descriptor, 0, 0), SAME(copies), SAME(is_copied_to),
    SAME(copies_nothing), SAME(copies_as_nobody_can), SAME(moves), SAME(is_moved_to), SAME(moves_nothing),
    SAME(moves_as_nobody_can), LIKE(moves_to_a_descriptor, fd_moves), LIKE(moves_from_a_descriptor, fd_is_moved_to),
    ALONE(sends_an_end, EINVAL, EINVAL), ALONE(exports, EINVAL, EINVAL), SAME(duplicates), SAME(reopens),
    SAME(reopens_neither), SAME(reopens_for_packets), SAME(reopens_a_directory), SAME(closes),
};
enum { ROWS = sizeof rows / sizeof *rows };

static void agree(const struct row *row, const char *of_what, int ours, int expected) {
    if (ours != expected) {
        fprintf(stderr, "%s %s: %s, expected %s\n", row->name, of_what, strerror(ours), strerror(expected));
        _exit(1);
    }
}

static void what_is_no_handle(void) {
    ppipe *closed[2], *next[2];
    make(closed, 0);
    CHECK(ppipe_close(closed[0]) == 0 && ppipe_close(closed[1]) == 0);
    /* Their places are used again, and the old handles are not taken for the new ones. */
    make(next, 0);
    ppipe *wrong[] = {NULL, closed[0], closed[1], (ppipe *)buf, (ppipe *)1, (ppipe *)-1, (ppipe *)0xfffffff1,
                      (ppipe *)0x10000ff1, (ppipe *)((char *)next[0] + 1), (ppipe *)((size_t)next[0] + ((size_t)1 << 32))};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (const struct row *row = rows; row < rows + ROWS; row++)
            agree(row, "of what is no handle", row->of_ours(wrong[i]), row->of_kernel ? row->of_kernel(-1) : EBADF);
        ppipe_pollfd polled = {wrong[i], POLLIN, 7};
        CHECK(ppipe_poll(&polled, 1, 0) == (wrong[i] != NULL) && polled.revents == (wrong[i] ? POLLNVAL : 0));
    }
    CHECK(ppipe_close(next[0]) == 0 && ppipe_close(next[1]) == 0);
}

/* Empty, and with room. */
static void what_is_the_wrong_end(void) {
    for (const struct row *row = rows; row < rows + ROWS; row++)
        for (int at = 0; at < 2; at++) {
            ppipe *end[2];
            int fd[2];
            make(end, O_NONBLOCK);
            CHECK(pipe2(fd, O_NONBLOCK) == 0);
            int expected = row->of_kernel ? row->of_kernel(fd[at]) : at == 0 ? row->of_reader : row->of_writer;
            loan = NULL;
            agree(row, at == 0 ? "of an end to read" : "of an end to write", row->of_ours(end[at]), expected);
            ppipe_abandon(loan);
            /* Closed by one of the calls. */
            ppipe_close(end[0]);
            ppipe_close(end[1]);
            close(fd[0]);
            close(fd[1]);
        }
}

static void what_is_no_loan(void) {
    ppipe *end[2];
    ppipe_loan *over, *other;
    make(end, 0);
    CHECK(ppipe_reserve(end[1], 1, &over, &start, 0) == 0 && ppipe_abandon(over) == 0);
    CHECK(ppipe_reserve(end[1], 1, &other, &start, 0) == 0);
    ppipe_loan *wrong[] = {NULL, over, (ppipe_loan *)end[1], (ppipe_loan *)buf, (ppipe_loan *)-1, (ppipe_loan *)2};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FAILS(ppipe_commit(wrong[i], 1, 0), EBADF);
        FAILS(ppipe_abandon(wrong[i]), EBADF);
        FAILS(ppipe_return(wrong[i]), EBADF);
    }
    FAILS(ppipe_return(other), EBADF);
    FAILS(ppipe_commit(other, 2, 0), EINVAL);
    FAILS(ppipe_commit(other, 1, MSG_OOB), EINVAL);
    CHECK(ppipe_commit(other, 1, 0) == 0);
    CHECK(ppipe_recv_loan(end[0], &other, &there, &info, 0) == 1);
    FAILS(ppipe_commit(other, 1, 0), EBADF);
    FAILS(ppipe_abandon(other), EBADF);
    CHECK(ppipe_return(other) == 0);
    FAILS(ppipe_reserve(end[1], 1, NULL, &start, 0), EFAULT);
    FAILS(ppipe_recv_loan(end[0], &other, NULL, &info, 0), EFAULT);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void what_makes_none(void) {
    ppipe *end[2];
    int fd[2];
    FAILS(ppipe_pipe2(NULL, 0), EFAULT);
    FAILS(pipe2(NULL, O_APPEND), EINVAL);
    FAILS(ppipe_pipe2(NULL, O_APPEND), EINVAL);
    FAILS(pipe2(fd, O_APPEND), EINVAL);
    FAILS(ppipe_pipe2(end, O_APPEND), EINVAL);
    FAILS_NULL(ppipe_open(NULL, O_RDONLY, 0), EFAULT);
    FAILS(ppipe_unlink(NULL), EFAULT);
    FAILS_NULL(ppipe_inherit(NULL), EFAULT);
    FAILS(ppipe_unexport(NULL), EFAULT);
    FAILS_NULL(ppipe_recv_end(-1, 0), EBADF);
    FAILS_NULL(ppipe_recv_end(9999, 0), EBADF);
    FAILS_NULL(ppipe_recv_end(0, ~0), EINVAL);
    make(end, 0);
    FAILS(ppipe_send_end(end[0], -1, 0), EBADF);
    FAILS(ppipe_send_end(end[0], 9999, 0), EBADF);
    FAILS(ppipe_export(end[0], NULL, &exported, 0), EFAULT);
    FAILS(ppipe_export(end[0], "A", NULL, 0), EFAULT);
    FAILS(ppipe_splice_from_fd(-1, end[1], 1, 0), EBADF);
    FAILS(ppipe_splice_from_fd(9999, end[1], 1, 0), EBADF);
    FAILS(ppipe_poll(NULL, 1, 0), EFAULT);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

int main(void) {
    CHECK(ppipe_leave_sigbus() == 0);
    make(good, O_NONBLOCK);
    CHECK(pipe2(good_fd, O_NONBLOCK) == 0);
    what_is_no_handle();
    what_is_the_wrong_end();
    what_is_no_loan();
    what_makes_none();
    return 0;
}
