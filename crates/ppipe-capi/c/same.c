/* Null pointers, flags, and the signal of a broken pipe: as the kernel has it, call by call. */
#include <limits.h>

#include "judge.h"

static char buf[70000];
static volatile sig_atomic_t broken;

static void count_broken(int signal) {
    (void)signal;
    broken++;
}

/* Memory that is not there is looked at when there is room for it, or something for it, and not before. */
static void null_pointers(int is_ours) {
    struct judged p;
    make_judged(&p, is_ours, O_NONBLOCK);
    SETSIZE(&p, 1, 16384);
    READ(&p, 0, NULL, 1);
    READ(&p, 0, NULL, 0);
    WRITE(&p, 1, NULL, 1);
    WRITE(&p, 1, NULL, 0);
    UNREAD(&p, 0);
    WRITE(&p, 1, "abc", 3);
    READ(&p, 0, NULL, 1);
    READ(&p, 0, NULL, SSIZE_MAX);
    READ(&p, 0, buf, SSIZE_MAX);
    WRITE(&p, 1, buf, (size_t)-1);
    WRITE(&p, 1, NULL, 4096);
    UNREAD(&p, 0);
    READ(&p, 0, buf, 9);
    while (WRITE(&p, 1, buf, 4096) == 4096)
        ;
    WRITE(&p, 1, NULL, 1);
    READ(&p, 0, NULL, 4096);
    READ(&p, 0, buf, sizeof buf);
    WRITE(&p, 1, "abc", 3);
    SHUT(&p, 1);
    READ(&p, 0, NULL, 1);
    READ(&p, 0, buf, 9);
    READ(&p, 0, NULL, 1);
    SHUT(&p, 0);
    make_judged(&p, is_ours, O_NONBLOCK);
    SHUT(&p, 0);
    broken = 0;
    WRITE(&p, 1, NULL, 1);
    NOTE(&p, broken);
    WRITE(&p, 1, NULL, 0);
    NOTE(&p, broken);
    SHUT(&p, 1);
}

/* H01, H02, H04: whole buffers go, of the others nothing. */
static void vectors_that_end_in_nothing(int is_ours) {
    struct judged p;
    struct iovec two[2] = {{buf, 4096}, {NULL, 4096}};
    make_judged(&p, is_ours, O_NONBLOCK);
    SETSIZE(&p, 1, 16384);
    size_t sizes[][2] = {{4096, 4096}, {4096, 100}, {10, 10}, {50, 100}, {8192, 4000}, {8000, 192}, {8000, 8192}, {1, 16385}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int before = 0; before < 6; before++) {
            two[0].iov_len = sizes[i][0];
            two[1].iov_len = sizes[i][1];
            for (int j = 0; j < before; j++)
                WRITE(&p, 1, buf, j == 0 ? 3 : 4000);
            WRITEV(&p, 1, two, 2);
            for (int j = 0; j < 2; j++) {
                UNREAD(&p, 0);
                READV(&p, 0, two, 2);
            }
            UNREAD(&p, 0);
            READ(&p, 0, buf, sizeof buf);
        }
    SHUT(&p, 0);
    SHUT(&p, 1);
}

static void packets_for_which_there_is_no_memory(int is_ours) {
    struct judged p;
    struct iovec two[2] = {{buf, 10}, {NULL, 5}};
    make_judged(&p, is_ours, O_NONBLOCK | O_DIRECT);
    WRITE(&p, 1, buf, 20);
    READV(&p, 0, two, 2);
    READ(&p, 0, NULL, 5);
    READ(&p, 0, buf, 100);
    WRITE(&p, 1, buf, 10);
    WRITE(&p, 1, buf, 10);
    READV(&p, 0, two, 2);
    READV(&p, 0, two + 1, 1);
    READ(&p, 0, buf, 100);
    WRITEV(&p, 1, two, 2);
    two[0].iov_len = 5000;
    WRITEV(&p, 1, two, 2);
    READ(&p, 0, buf, 5000);
    READ(&p, 0, buf, 5000);
    SHUT(&p, 0);
    SHUT(&p, 1);
}

static void vectors_that_cannot_be(int is_ours) {
    struct judged p;
    struct iovec two[2] = {{buf, SSIZE_MAX}, {buf, SSIZE_MAX}}, *none = NULL;
    make_judged(&p, is_ours, O_NONBLOCK);
    WRITEV(&p, 1, two, 2);
    READV(&p, 0, two, 2);
    two[1].iov_len = 0;
    WRITEV(&p, 1, two, 2);
    two[1].iov_len = (size_t)-1;
    WRITEV(&p, 1, two, 2);
    READV(&p, 0, two, 2);
    two[0] = (struct iovec){NULL, SSIZE_MAX};
    WRITEV(&p, 1, two, 1);
    for (int count = -1; count <= 1025; count += count == 1 ? 1024 : 1) {
        WRITEV(&p, 1, none, count);
        READV(&p, 0, none, count);
        WRITEV(&p, 0, none, count);
        READV(&p, 1, none, count);
    }
    SHUT(&p, 0);
    SHUT(&p, 1);
}

static void flags_that_mean_nothing_are_kept(int is_ours) {
    static const int flags[] = {O_APPEND, O_ASYNC,     O_NOATIME, O_SYNC,  O_DSYNC, O_TRUNC,    O_CLOEXEC,
                                O_CREAT,  O_DIRECTORY, O_PATH,    O_NOCTTY, O_EXCL, O_NOFOLLOW, O_DIRECT | O_NONBLOCK};
    struct judged p;
    make_judged(&p, is_ours, 0);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        for (int at = 0; at < 2; at++) {
            SETFL(&p, at, flags[i]);
            GETFL(&p, at);
            SETFL(&p, at, flags[i] | O_NONBLOCK);
            GETFL(&p, at);
        }
    SHUT(&p, 0);
    SHUT(&p, 1);
}

/* By /proc/self/fd/N, and by a name. */
static void flags_of_opening(int is_ours) {
    static const int flags[] = {O_TRUNC,     O_APPEND, O_SYNC,           O_DSYNC,         O_CLOEXEC, O_NOATIME, O_NOCTTY, O_ASYNC,
                                O_NOFOLLOW,  O_EXCL,   O_CREAT,          O_CREAT | O_EXCL, O_DIRECT, O_DIRECTORY, O_TMPFILE,
                                O_CREAT | O_DIRECTORY, O_APPEND | O_TRUNC | O_CLOEXEC,    1 << 27};
    struct judged p;
    char path[64], name[64];
    make_judged(&p, is_ours, O_NONBLOCK);
    snprintf(name, sizeof name, "/tmp/test-%d-same", (int)getpid());
    ppipe *named = NULL;
    int fifo = -1;
    if (is_ours)
        CHECK((named = ppipe_open(name + 5, O_RDWR | O_CREAT | O_EXCL, 0600)) != NULL);
    else
        CHECK(mkfifo(name, 0600) == 0 && (fifo = open(name, O_RDWR)) >= 0);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        for (int access = 0; access < 4; access++) {
            int oflags = flags[i] | access | O_NONBLOCK;
            struct judged opened = {.is_ours = is_ours};
            snprintf(path, sizeof path, "/proc/self/fd/%d", p.fd[0]);
            if (is_ours)
                opened.end[0] = ppipe_reopen(p.end[0], oflags);
            if (ON(&opened, opened.fd[0] = open(path, oflags, 0600), opened.end[0] ? 0 : -1) != -1) {
                noted[is_ours].note[noted[is_ours].count - 1].value = 0;
                GETFL(&opened, 0);
                SETFL(&opened, 0, 0);
                GETFL(&opened, 0);
                SHUT(&opened, 0);
            }
            /* Which of two errors comes first where nothing can be opened anyway. */
            if (access == O_ACCMODE && flags[i] & O_EXCL)
                continue;
            if (is_ours)
                opened.end[0] = ppipe_open(name + 5, oflags, 0600);
            if (ON(&opened, opened.fd[0] = open(name, oflags, 0600), opened.end[0] ? 0 : -1) != -1) {
                noted[is_ours].note[noted[is_ours].count - 1].value = 0;
                GETFL(&opened, 0);
                SHUT(&opened, 0);
            }
        }
    if (is_ours)
        CHECK(ppipe_close(named) == 0);
    else
        CHECK(close(fifo) == 0 && unlink(name) == 0);
    SHUT(&p, 0);
    SHUT(&p, 1);
}

/* A write that waits when the last reader goes: what went in, and the signal. */
struct blocked {
    struct judged *pipe;
    long (*call)(struct judged *);
};

static long writes(struct judged *p) {
    return WRITE(p, 1, buf, 8192);
}

static long writes_vectors(struct judged *p) {
    struct iovec two[2] = {{buf, 5000}, {buf, 3192}};
    return WRITEV(p, 1, two, 2);
}

static long writes_a_byte(struct judged *p) {
    return WRITE(p, 1, buf, 1);
}

static void *runs(void *blocked) {
    struct blocked *b = blocked;
    b->call(b->pipe);
    return NULL;
}

static void break_off(int is_ours, long (*call)(struct judged *), int is_full) {
    struct judged p;
    struct blocked blocked = {&p, call};
    pthread_t thread;
    make_judged(&p, is_ours, 0);
    SETSIZE(&p, 1, 4096);
    if (is_full)
        WRITE(&p, 1, buf, 4096);
    broken = 0;
    CHECK(pthread_create(&thread, NULL, runs, &blocked) == 0);
    while (unread(&p, 0) < 4096)
        usleep(1000);
    CHECK((is_ours ? ppipe_close(p.end[0]) : close(p.fd[0])) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    NOTE(&p, broken);
    SHUT(&p, 1);
}

static void what_is_broken_off(int is_ours) {
    break_off(is_ours, writes, 0);
    break_off(is_ours, writes_vectors, 0);
    break_off(is_ours, writes, 1);
    break_off(is_ours, writes_a_byte, 1);
}

static void what_is_moved_into_a_broken_pipe(int is_ours) {
    struct judged p, from;
    int file[2];
    make_judged(&from, is_ours, O_NONBLOCK);
    make_judged(&p, is_ours, O_NONBLOCK);
    CHECK(pipe(file) == 0 && write(file[1], "abc", 3) == 3);
    WRITE(&from, 1, "abc", 3);
    SHUT(&p, 0);
    broken = 0;
    ON(&p, tee(from.fd[0], p.fd[1], 10, 0), ppipe_tee(from.end[0], p.end[1], 10, 0));
    NOTE(&p, broken);
    ON(&p, splice(from.fd[0], NULL, p.fd[1], NULL, 10, 0), ppipe_splice(from.end[0], p.end[1], 10, 0));
    NOTE(&p, broken);
    ON(&p, splice(file[0], NULL, p.fd[1], NULL, 10, 0), ppipe_splice_from_fd(file[0], p.end[1], 10, 0));
    NOTE(&p, broken);
    ON(&p, tee(from.fd[0], p.fd[1], 0, 0), ppipe_tee(from.end[0], p.end[1], 0, 0));
    NOTE(&p, broken);
    UNREAD(&from, 0);
    SHUT(&p, 1);
    SHUT(&from, 0);
    SHUT(&from, 1);
    CHECK(close(file[0]) == 0 && close(file[1]) == 0);
}

/* What has no relative on a pipe: as a socket has it. */
static void messages_into_a_broken_pipe(void) {
    ppipe *end[2];
    ppipe_loan *loan;
    void *start;
    struct iovec two[2] = {{buf, 1}, {buf, 1}};
    make(end, 0);
    CHECK(ppipe_setfl(end[1], PPIPE_SIGPIPE) == 0);
    CHECK(ppipe_reserve(end[1], 1, &loan, &start, 0) == 0 && ppipe_close(end[0]) == 0);
    broken = 0;
    FAILS(ppipe_send(end[1], buf, 1, 0), EPIPE);
    FAILS(ppipe_sendv(end[1], two, 2, 0), EPIPE);
    FAILS(ppipe_send_timeout(end[1], buf, 1, 10), EPIPE);
    FAILS(ppipe_send_batch(end[1], two, 2, 0), EPIPE);
    FAILS(ppipe_write_timeout(end[1], buf, 1, 10), EPIPE);
    FAILS(ppipe_commit(loan, 1, 0), EPIPE);
    CHECK(broken == 6 && ppipe_abandon(loan) == 0);
    CHECK(ppipe_setfl(end[1], 0) == 0);
    FAILS(ppipe_send(end[1], buf, 1, 0), EPIPE);
    CHECK(broken == 6 && ppipe_close(end[1]) == 0);
}

/* A batch that is broken off says how far it went, and sends the signal all the same. */
static void *sends_a_batch(void *p) {
    struct iovec many[3] = {{buf, 4096}, {buf, 1}, {buf, 1}};
    CHECK(ppipe_send_batch(p, many, 3, 0) == 1);
    return NULL;
}

static void a_batch_that_is_broken_off(void) {
    ppipe *end[2];
    pthread_t thread;
    int n = 0;
    make(end, 0);
    CHECK(ppipe_setfl(end[1], PPIPE_SIGPIPE) == 0 && ppipe_setsize(end[1], 4096) == 4096);
    broken = 0;
    CHECK(pthread_create(&thread, NULL, sends_a_batch, end[1]) == 0);
    while (n < 4096)
        CHECK(usleep(1000) == 0 && ppipe_nread(end[0], &n) == 0);
    CHECK(ppipe_close(end[0]) == 0 && pthread_join(thread, NULL) == 0 && broken == 1 && ppipe_close(end[1]) == 0);
}

/* The judge itself: what differs is found out. */
static void differs(int is_ours) {
    struct judged p = {.is_ours = is_ours};
    NOTE(&p, 1);
    NOTE(&p, is_ours);
}

int main(void) {
    CHECK(signal(SIGPIPE, count_broken) != SIG_ERR);
    same(null_pointers);
    same(vectors_that_end_in_nothing);
    same(packets_for_which_there_is_no_memory);
    same(vectors_that_cannot_be);
    same(flags_that_mean_nothing_are_kept);
    same(flags_of_opening);
    same(what_is_broken_off);
    same(what_is_moved_into_a_broken_pipe);
    messages_into_a_broken_pipe();
    a_batch_that_is_broken_off();
    pid_t child = fork();
    if (child == 0) {
        close(2);
        same(differs);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 1);
    return 0;
}
