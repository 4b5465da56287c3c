/* What every function does, and what it says to wrong arguments; what is no handle is in wrong.c. */
#include "check.h"

static void streams_and_flags(void) {
    ppipe *end[2];
    char buf[8192];
    make(end, O_NONBLOCK | O_CLOEXEC);
    FAILS(ppipe_read(end[0], buf, 1), EAGAIN);
    CHECK(ppipe_write(end[1], "hello", 5) == 5);
    CHECK(ppipe_write(end[1], " world", 6) == 6);
    int n;
    CHECK(ppipe_nread(end[0], &n) == 0 && n == 11);
    CHECK(ppipe_nread(end[1], &n) == 0 && n == 11);
    CHECK(ppipe_read(end[0], buf, sizeof buf) == 11 && memcmp(buf, "hello world", 11) == 0);
    CHECK(ppipe_getfl(end[0]) == (O_RDONLY | O_NONBLOCK));
    CHECK(ppipe_getfl(end[1]) == (O_WRONLY | O_NONBLOCK));
    CHECK(ppipe_setfl(end[1], O_NONBLOCK | O_DIRECT) == 0);
    CHECK(ppipe_getfl(end[1]) == (O_WRONLY | O_NONBLOCK | O_DIRECT));
    ppipe *dup = ppipe_dup(end[1]);
    CHECK(dup != NULL && dup != end[1]);
    CHECK(ppipe_setfl(dup, O_NONBLOCK) == 0);
    CHECK(ppipe_getfl(end[1]) == (O_WRONLY | O_NONBLOCK));
    ppipe *other = ppipe_reopen(end[0], O_WRONLY | O_NONBLOCK);
    CHECK(other != NULL && ppipe_getfl(other) == (O_WRONLY | O_NONBLOCK));
    CHECK(ppipe_setfl(other, O_DIRECT | O_NONBLOCK) == 0 && ppipe_getfl(end[1]) == (O_WRONLY | O_NONBLOCK));
    CHECK(ppipe_close(end[1]) == 0 && ppipe_close(dup) == 0);
    FAILS(ppipe_read(end[0], buf, 1), EAGAIN);
    CHECK(ppipe_close(other) == 0);
    CHECK(ppipe_read(end[0], buf, 1) == 0);
    CHECK(ppipe_close(end[0]) == 0);
    make(end, O_DIRECT);
    CHECK(ppipe_getfl(end[0]) == O_RDONLY && ppipe_getfl(end[1]) == (O_WRONLY | O_DIRECT));
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_write(end[1], "x", 0) == 0);
    CHECK(ppipe_close(end[1]) == 0);
}

/* A reading end has the flags that it is given, as one of the kernel has; that they mean nothing there is another matter. */
static void flags_of_reading_ends(void) {
    ppipe *end[2];
    char buf[8];
    int fd[2];
    make(end, 0);
    CHECK(pipe(fd) == 0);
    CHECK(ppipe_setfl(end[0], O_DIRECT) == 0 && fcntl(fd[0], F_SETFL, O_DIRECT) == 0);
    /* The kernel says O_LARGEFILE besides where that is not 0. */
    CHECK(ppipe_getfl(end[0]) == (fcntl(fd[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_DIRECT)));
    CHECK(ppipe_getfl(end[1]) == O_WRONLY);
    CHECK(ppipe_setfl(end[0], PPIPE_SIGPIPE) == 0 && ppipe_getfl(end[0]) == (O_RDONLY | PPIPE_SIGPIPE));
    CHECK(ppipe_write(end[1], "ab", 2) == 2 && ppipe_read(end[0], buf, 1) == 1 && ppipe_read(end[0], buf, 1) == 1);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
    close(fd[0]);
    close(fd[1]);
}

static void vectors(void) {
    ppipe *end[2];
    char a[3], b[8];
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    struct iovec in[2] = {{a, 3}, {b, 8}};
    struct iovec many[1025];
    make(end, O_NONBLOCK);
    CHECK(ppipe_writev(end[1], out, 3) == 5);
    CHECK(ppipe_readv(end[0], in, 2) == 5 && memcmp(a, "abc", 3) == 0 && memcmp(b, "de", 2) == 0);
    CHECK(ppipe_writev(end[1], out, 0) == 0 && ppipe_readv(end[0], in, 0) == 0);
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){"x", 1};
    FAILS(ppipe_writev(end[1], many, 1025), EINVAL);
    CHECK(ppipe_writev(end[1], many, 1024) == 1024);
    FAILS(ppipe_writev(end[1], many, -1), EINVAL);
    many[0].iov_len = many[1].iov_len = (size_t)-1 / 2;
    FAILS(ppipe_writev(end[1], many, 3), EFAULT);
    FAILS(ppipe_writev(end[1], NULL, 1), EFAULT);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void messages(void) {
    ppipe *end[2];
    static char packet[70000], buf[70000];
    struct ppipe_info info;
    make(end, O_NONBLOCK);
    CHECK(ppipe_send(end[1], "first", 5, 0) == 5);
    CHECK(ppipe_send(end[1], packet, 50000, MSG_DONTWAIT) == 50000);
    FAILS(ppipe_send(end[1], packet, 65537, 0), EMSGSIZE);
    FAILS(ppipe_send(end[1], packet, 1, MSG_OOB), EINVAL);
    CHECK(ppipe_recv(end[0], buf, 2, &info, MSG_PEEK) == 2 && info.length == 5 && info.truncated);
    FAILS(ppipe_recv(end[0], buf, 2, &info, MSG_PEEK | PPIPE_EXACT), EMSGSIZE);
    CHECK(ppipe_recv(end[0], buf, 5, &info, MSG_PEEK | PPIPE_EXACT) == 5 && info.length == 5 && !info.truncated);
    CHECK(ppipe_recv(end[0], buf, 2, &info, MSG_PEEK | PPIPE_KEEP) == 2 && info.length == 5 && info.truncated);
    FAILS(ppipe_recv(end[0], buf, 9, &info, MSG_PEEK | PPIPE_EXACT | PPIPE_KEEP), EINVAL);
    FAILS(ppipe_recv(end[0], buf, 2, &info, PPIPE_EXACT), EMSGSIZE);
    CHECK(ppipe_recv(end[0], buf, 2, &info, PPIPE_KEEP) == 2 && info.length == 5);
    CHECK(ppipe_recv(end[0], buf, 9, NULL, 0) == 3 && memcmp(buf, "rst", 3) == 0);
    CHECK(ppipe_recv(end[0], buf, 9, &info, 0) == 9 && info.length == 50000 && info.truncated);
    CHECK(info.sender == getpid());
    FAILS(ppipe_recv(end[0], buf, 9, &info, 0), EAGAIN);
    FAILS(ppipe_recv_timeout(end[0], buf, 9, &info, 10), ETIMEDOUT);
    FAILS(ppipe_read_timeout(end[0], buf, 9, 10), ETIMEDOUT);
    FAILS(ppipe_recv(end[0], buf, 9, &info, PPIPE_EXACT | PPIPE_KEEP), EINVAL);
    while (ppipe_send(end[1], "x", 1, 0) == 1)
        ;
    CHECK(errno == EAGAIN);
    FAILS(ppipe_send_timeout(end[1], "x", 1, 10), ETIMEDOUT);
    FAILS(ppipe_write_timeout(end[1], buf, 4096, 10), ETIMEDOUT);
    CHECK(ppipe_close(end[1]) == 0);
    for (int i = 0; i < 16; i++)
        CHECK(ppipe_recv(end[0], buf, 9, &info, 0) == 1 && info.length == 1 && !info.truncated);
    CHECK(ppipe_recv(end[0], buf, 9, &info, 0) == 0 && info.length == 0);
    CHECK(ppipe_close(end[0]) == 0);
}

static void vectors_of_messages(void) {
    ppipe *end[2];
    char a[3], b[8];
    struct iovec out[3] = {{"head", 4}, {NULL, 0}, {"body", 4}};
    struct iovec in[2] = {{a, 3}, {b, 4}};
    struct ppipe_info info;
    make(end, O_NONBLOCK);
    CHECK(ppipe_sendv(end[1], out, 3, 0) == 8 && ppipe_sendv(end[1], out, 1, MSG_DONTWAIT) == 4);
    CHECK(ppipe_recvv(end[0], in, 2, &info, 0) == 7 && info.length == 8 && info.truncated && info.sender == getpid());
    CHECK(memcmp(a, "hea", 3) == 0 && memcmp(b, "dbod", 4) == 0);
    CHECK(ppipe_recvv(end[0], in, 2, NULL, MSG_DONTWAIT) == 4 && b[0] == 'd');
    FAILS(ppipe_recvv(end[0], in, 2, NULL, 0), EAGAIN);
    FAILS(ppipe_recvv(end[0], in, 2, NULL, MSG_PEEK), EINVAL);
    FAILS(ppipe_recvv(end[0], in, 1025, NULL, 0), EINVAL);
    FAILS(ppipe_recvv(end[0], NULL, 1, NULL, 0), EFAULT);
    FAILS(ppipe_sendv(end[1], out, 3, MSG_OOB), EINVAL);
    FAILS(ppipe_sendv(end[1], NULL, 3, 0), EFAULT);
    FAILS(ppipe_sendv(end[0], out, 3, 0), EBADF);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_recvv(end[0], in, 2, &info, 0) == 0 && ppipe_close(end[0]) == 0);
}

static void batches(void) {
    ppipe *end[2];
    static char big[70000], room[4][70000];
    struct iovec out[4] = {{"one", 3}, {NULL, 0}, {big, 9000}, {"four", 4}};
    struct iovec in[4] = {{room[0], 70000}, {room[1], 70000}, {room[2], 70000}, {room[3], 70000}};
    struct ppipe_info info[4] = {{0}};
    make(end, O_NONBLOCK);
    FAILS(ppipe_recv_batch(end[0], in, info, 4, 0), EAGAIN);
    memset(big, 'b', sizeof big);
    CHECK(ppipe_send_batch(end[1], out, 4, 0) == 4);
    CHECK(ppipe_recv_batch(end[0], in, info, 4, 0) == 3);
    CHECK(info[0].length == 3 && info[1].length == 9000 && info[2].length == 4 && info[3].length == 0);
    CHECK(info[0].sender == getpid() && memcmp(room[0], "one", 3) == 0 && memcmp(room[2], "four", 4) == 0);
    CHECK(memcmp(room[1], big, 9000) == 0);
    /* A part of each that does not fit; or nothing of it, and then it ends before that one. */
    for (int i = 0; i < 4; i++)
        in[i].iov_len = 3;
    CHECK(ppipe_send_batch(end[1], out, 4, MSG_DONTWAIT) == 4);
    CHECK(ppipe_recv_batch(end[0], in, info, 4, PPIPE_EXACT) == 1);
    FAILS(ppipe_recv_batch(end[0], in, info, 4, PPIPE_EXACT), EMSGSIZE);
    CHECK(ppipe_recv_batch(end[0], in, info, 1, 0) == 1 && info[0].length == 9000 && info[0].truncated);
    CHECK(ppipe_recv_batch(end[0], in, info, 4, PPIPE_KEEP) == 2 && info[0].truncated && !info[1].truncated);
    CHECK(memcmp(room[0], "fou", 3) == 0 && room[1][0] == 'r' && info[1].length == 1);
    /* What cannot be sent ends it before that one, and the next call says why. */
    out[2].iov_len = 65537;
    CHECK(ppipe_send_batch(end[1], out, 4, 0) == 2);
    FAILS(ppipe_send_batch(end[1], out + 2, 2, 0), EMSGSIZE);
    out[2] = (struct iovec){NULL, 1};
    FAILS(ppipe_send_batch(end[1], out, 4, 0), EFAULT);
    FAILS(ppipe_send_batch(end[1], NULL, 4, 0), EFAULT);
    FAILS(ppipe_send_batch(end[1], out, -1, 0), EINVAL);
    FAILS(ppipe_send_batch(end[1], out, 1025, 0), EINVAL);
    FAILS(ppipe_send_batch(end[1], out, 1, MSG_OOB), EINVAL);
    FAILS(ppipe_send_batch(end[0], out, 1, 0), EBADF);
    FAILS(ppipe_recv_batch(end[1], in, info, 1, 0), EBADF);
    FAILS(ppipe_recv_batch(end[0], in, info, 1, MSG_PEEK), EINVAL);
    FAILS(ppipe_recv_batch(end[0], in, info, 1, PPIPE_EXACT | PPIPE_KEEP), EINVAL);
    FAILS(ppipe_recv_batch(end[0], NULL, info, 1, 0), EFAULT);
    in[0].iov_base = NULL;
    FAILS(ppipe_recv_batch(end[0], in, info, 4, 0), EFAULT);
    in[0].iov_base = room[0];
    CHECK(ppipe_send_batch(end[1], out, 0, 0) == 0 && ppipe_recv_batch(end[0], in, info, 0, 0) == 0);
    CHECK(ppipe_recv_batch(end[0], in, NULL, 4, 0) == 1);
    /* As far as there is room. */
    struct iovec many[20];
    for (int i = 0; i < 20; i++)
        many[i] = (struct iovec){"x", 1};
    CHECK(ppipe_send_batch(end[1], many, 20, 0) == 16);
    FAILS(ppipe_send_batch(end[1], many, 20, 0), EAGAIN);
    CHECK(ppipe_close(end[1]) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(ppipe_recv_batch(end[0], in, info, 4, 0) == 4);
    CHECK(ppipe_recv_batch(end[0], in, info, 4, 0) == 0 && ppipe_close(end[0]) == 0);
    make(end, 0);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_send_batch(end[1], many, 20, 0), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

static void sizes(void) {
    ppipe *end[2];
    make(end, O_NONBLOCK);
    CHECK(ppipe_getsize(end[0]) == 65536);
    CHECK(ppipe_setsize(end[1], 100000) == 131072 && ppipe_getsize(end[0]) == 131072);
    CHECK(ppipe_setsize(end[0], 0) == 4096);
    FAILS(ppipe_setsize(end[0], 1u << 30), EPERM);
    FAILS(ppipe_setsize(end[0], -1), EINVAL);
    FAILS(ppipe_nread(end[0], NULL), EFAULT);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void polls(void) {
    ppipe *a[2], *b[2];
    make(a, 0);
    make(b, 0);
    ppipe_pollfd fds[5] = {
        {a[0], POLLIN, 7}, {NULL, POLLIN, 7}, {b[0], POLLIN | POLLRDNORM, 7}, {b[1], POLLOUT, 7}, {a[0], 0, 7}};
    CHECK(ppipe_poll(fds, 3, 0) == 0 && fds[0].revents == 0 && fds[1].revents == 0);
    CHECK(ppipe_poll(fds, 3, 10) == 0);
    CHECK(ppipe_write(b[1], "x", 1) == 1);
    CHECK(ppipe_poll(fds, 5, -1) == 2);
    CHECK(fds[0].revents == 0 && fds[2].revents == (POLLIN | POLLRDNORM) && fds[3].revents == POLLOUT);
    CHECK(ppipe_close(a[1]) == 0 && ppipe_close(b[0]) == 0);
    CHECK(ppipe_poll(fds, 5, -1) == 4);
    CHECK(fds[0].revents == POLLHUP && fds[2].revents == POLLNVAL && fds[3].revents == (POLLOUT | POLLERR));
    CHECK(fds[4].revents == POLLHUP);
    CHECK(ppipe_poll(NULL, 0, 10) == 0);
    FAILS(ppipe_poll(NULL, 1, 10), EFAULT);
    CHECK(ppipe_close(a[0]) == 0 && ppipe_close(b[1]) == 0);
}

static void transfers(void) {
    ppipe *a[2], *b[2];
    char buf[100];
    int fd[2];
    make(a, O_NONBLOCK | O_DIRECT);
    make(b, O_NONBLOCK);
    CHECK(ppipe_write(a[1], "0123456789", 10) == 10 && ppipe_write(a[1], "abc", 3) == 3);
    CHECK(ppipe_tee(a[0], b[1], 100, 0) == 13);
    CHECK(ppipe_splice(a[0], b[1], 100, 1) == 13);
    FAILS(ppipe_splice(a[0], b[1], 100, 2), EAGAIN);
    FAILS(ppipe_splice(a[0], a[1], 100, 0), EINVAL);
    FAILS(ppipe_tee(a[0], b[1], 100, 16), EINVAL);
    FAILS(ppipe_splice(a[1], b[1], 100, 0), EBADF);
    FAILS(ppipe_splice(a[0], b[0], 100, 0), EBADF);
    CHECK(ppipe_splice(a[0], b[1], 0, 99) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(ppipe_read(b[0], buf, 100) == 10);
        CHECK(ppipe_read(b[0], buf, 100) == 3 && memcmp(buf, "abc", 3) == 0);
    }
    CHECK(pipe(fd) == 0);
    CHECK(write(fd[1], "from a descriptor", 17) == 17);
    CHECK(ppipe_splice_from_fd(fd[0], b[1], 100, 0) == 17);
    CHECK(ppipe_splice_to_fd(b[0], fd[1], 5, 0) == 5);
    CHECK(read(fd[0], buf, 100) == 5 && memcmp(buf, "from ", 5) == 0);
    FAILS(ppipe_splice_to_fd(b[0], -1, 5, 0), EBADF);
    FAILS(ppipe_splice_to_fd(b[0], 9999, 5, 0), EBADF);
    FAILS(ppipe_splice_to_fd(b[0], fd[0], 5, 0), EBADF);
    CHECK(ppipe_read(b[0], buf, 100) == 12);
    close(fd[0]);
    close(fd[1]);
    for (int i = 0; i < 2; i++)
        CHECK(ppipe_close(a[i]) == 0 && ppipe_close(b[i]) == 0);
}

static void names(void) {
    char name[64], buf[8];
    snprintf(name, sizeof name, "test-%d-c", (int)getpid());
    FAILS_NULL(ppipe_open(name, O_RDONLY | O_NONBLOCK, 0), ENOENT);
    FAILS_NULL(ppipe_open(name, O_WRONLY | O_NONBLOCK | O_CREAT, 0600), ENXIO);
    ppipe *r = ppipe_open(name, O_RDONLY | O_NONBLOCK | O_CREAT | O_EXCL, 0600);
    CHECK(r != NULL);
    FAILS_NULL(ppipe_open(name, O_RDONLY | O_NONBLOCK | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS_NULL(ppipe_open(name, O_RDONLY | O_DIRECT, 0), EINVAL);
    FAILS_NULL(ppipe_open("a/b", O_RDONLY | O_CREAT, 0600), EINVAL);
    FAILS_NULL(ppipe_open(NULL, O_RDONLY, 0), EFAULT);
    ppipe *w = ppipe_open(name, O_WRONLY, 0);
    CHECK(w != NULL && ppipe_write(w, "named", 5) == 5 && ppipe_read(r, buf, 8) == 5);
    ppipe *both = ppipe_open(name, O_RDWR, 0);
    CHECK(both != NULL && ppipe_getfl(both) == O_RDWR);
    CHECK(ppipe_setfl(both, O_NONBLOCK) == 0);
    FAILS(ppipe_read(both, buf, 8), EAGAIN);
    CHECK(ppipe_write(both, "x", 1) == 1 && ppipe_read(both, buf, 8) == 1);
    CHECK(ppipe_close(w) == 0);
    FAILS(ppipe_read(r, buf, 8), EAGAIN);
    CHECK(ppipe_unlink(name) == 0);
    FAILS(ppipe_unlink(name), ENOENT);
    CHECK(ppipe_close(both) == 0 && ppipe_read(r, buf, 8) == 0 && ppipe_close(r) == 0);
}

int main(void) {
    streams_and_flags();
    flags_of_reading_ends();
    vectors();
    messages();
    vectors_of_messages();
    batches();
    sizes();
    polls();
    transfers();
    names();
    return 0;
}
