/* Descriptors for poll, select and epoll. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

#include "check.h"

static const char *name(void) {
    static char name[64];
    snprintf(name, sizeof name, "test-%d-fds", (int)getpid());
    return name;
}

static short shown(ppipe *p) {
    struct pollfd fd = {.fd = ppipe_fd(p), .events = POLLIN | POLLOUT};
    CHECK(fd.fd >= 0);
    CHECK(poll(&fd, 1, 0) >= 0);
    return fd.revents;
}

/* Waits until it shows one of these. */
static short waits_for(ppipe *p, short events) {
    struct pollfd fd = {.fd = ppipe_fd(p), .events = events};
    CHECK(poll(&fd, 1, 20000) == 1);
    return fd.revents;
}

static void a_descriptor_shows_what_that_of_a_pipe_shows(void) {
    ppipe *end[2];
    char buf[4096] = {0};
    make(end, O_NONBLOCK);
    CHECK(ppipe_setsize(end[1], 4096) == 4096);
    CHECK(shown(end[0]) == 0 && shown(end[1]) == POLLOUT);
    CHECK(ppipe_write(end[1], buf, sizeof buf) == sizeof buf);
    CHECK(shown(end[1]) == 0 && waits_for(end[0], POLLIN) == POLLIN);
    CHECK(ppipe_read(end[0], buf, sizeof buf) == sizeof buf);
    CHECK(shown(end[0]) == 0 && waits_for(end[1], POLLOUT) == POLLOUT);
    CHECK(ppipe_send(end[1], "x", 1, 0) == 1 && ppipe_close(end[1]) == 0);
    CHECK(waits_for(end[0], 0) == POLLHUP);
    CHECK(shown(end[0]) == (POLLIN | POLLHUP));
    CHECK(ppipe_close(end[0]) == 0);

    make(end, 0);
    CHECK(shown(end[1]) == POLLOUT && ppipe_close(end[0]) == 0);
    CHECK(waits_for(end[1], 0) == POLLERR);
    FAILS(ppipe_fd(end[0]), EBADF);
    FAILS(ppipe_fd(NULL), EBADF);
    CHECK(ppipe_close(end[1]) == 0);
}

static void duplicates_have_one_descriptor_and_the_last_one_closes_it(void) {
    ppipe *end[2];
    make(end, 0);
    int fd = ppipe_fd(end[0]);
    ppipe *duplicate = ppipe_dup(end[0]), *other = ppipe_reopen(end[0], O_RDONLY);
    CHECK(ppipe_fd(duplicate) == fd && ppipe_fd(other) != fd);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_fd(duplicate) == fd && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ppipe_close(duplicate) == 0);
    FAILS(fcntl(fd, F_GETFD), EBADF);
    CHECK(ppipe_close(other) == 0 && ppipe_close(end[1]) == 0);
}

static void a_handle_that_is_open_both_ways_shows_both(void) {
    ppipe *p = ppipe_open(name(), O_RDWR | O_CREAT | O_NONBLOCK, 0600);
    CHECK(p != NULL && shown(p) == POLLOUT);
    CHECK(ppipe_setsize(p, 8192) == 8192);
    CHECK(ppipe_send(p, "1", 1, 0) == 1);
    CHECK(waits_for(p, POLLIN) == POLLIN && shown(p) == (POLLIN | POLLOUT));
    CHECK(ppipe_send(p, "2", 1, 0) == 1);
    CHECK(shown(p) == POLLIN);
    char buf[8];
    CHECK(ppipe_recv(p, buf, 8, NULL, 0) == 1 && ppipe_recv(p, buf, 8, NULL, 0) == 1);
    CHECK(waits_for(p, POLLOUT) == POLLOUT && shown(p) == POLLOUT);
    CHECK(ppipe_close(p) == 0);
}

/* Where descriptors are short, nothing is shown that would be a signal. */
static void a_broken_pipe_is_no_signal_though_there_are_no_descriptors(void) {
    ppipe *end[2];
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit limit;
        make(end, O_NONBLOCK);
        CHECK(shown(end[1]) == POLLOUT && ppipe_close(end[0]) == 0);
        CHECK(waits_for(end[1], 0) == POLLERR);
        CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = 0;
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        for (int i = 0; i < 10; i++)
            FAILS(ppipe_send(end[1], "x", 1, 0), EPIPE);
        _exit(0);
    }
    joined(child);
}

static short shown_by(int fd) {
    struct pollfd polled = {.fd = fd, .events = POLLIN | POLLOUT};
    CHECK(poll(&polled, 1, 0) >= 0);
    return polled.revents;
}

/* A forked child waits by the number that its parent has asked for, and neither shows what the other one does. */
static void a_forked_child_has_its_own_by_the_same_number(void) {
    ppipe *end[2], *done[2];
    char buf[8];
    make(end, O_NONBLOCK);
    make(done, 0);
    ppipe *duplicate = ppipe_dup(end[0]), *both = ppipe_open(name(), O_RDWR | O_CREAT | O_NONBLOCK, 0600);
    int in = ppipe_fd(end[0]), out = ppipe_fd(end[1]), of_both = ppipe_fd(both);
    CHECK(both != NULL && ppipe_send(both, "x", 1, 0) == 1 && waits_for(both, POLLIN) == POLLIN);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(end[1]) == 0);
        CHECK(shown_by(out) == POLLNVAL);
        struct pollfd polled = {.fd = in, .events = POLLIN};
        CHECK(poll(&polled, 1, 20000) == 1 && polled.revents == POLLIN);
        CHECK(ppipe_fd(end[0]) == in && ppipe_fd(duplicate) == in && ppipe_fd(both) == of_both);
        CHECK(shown_by(of_both) == (POLLIN | POLLOUT));
        CHECK(ppipe_recv(duplicate, buf, 8, NULL, 0) == 4 && shown_by(in) == 0);
        CHECK(ppipe_write(done[1], "!", 1) == 1);
        CHECK(waits_for(end[0], 0) == POLLHUP && ppipe_recv(end[0], buf, 8, NULL, 0) == 0);
        /* By exit, which takes the name along. */
        exit(0);
    }
    CHECK(ppipe_send(end[1], "news", 4, 0) == 4);
    CHECK(ppipe_close(done[1]) == 0 && ppipe_read(done[0], buf, 1) == 1);
    CHECK(shown_by(out) == POLLOUT);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_close(both) == 0);
    joined(child);
    /* Nobody has copies of what shows it here. */
    CHECK(waits_for(end[0], 0) & POLLHUP);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(duplicate) == 0 && ppipe_close(done[0]) == 0);
}

/* The thread that keeps up what is shown begins in the child while that takes up its ends, and neither waits for the other one. */
enum { PIPES = 6, CHILDREN = 100 };
static ppipe *ends[PIPES][2];
static volatile int is_over;

static void *stirs(void *unused) {
    char c;
    while (!is_over)
        for (int i = 0; i < PIPES; i++) {
            ppipe_write_timeout(ends[i][1], "x", 1, 1);
            ppipe_read_timeout(ends[i][0], &c, 1, i % 2);
            usleep(100);
        }
    return unused;
}

static void children_take_up_many_that_are_shown(void) {
    pthread_t thread;
    for (int i = 0; i < PIPES; i++) {
        make(ends[i], O_NONBLOCK);
        CHECK(ppipe_fd(ends[i][0]) >= 0 && ppipe_fd(ends[i][1]) >= 0);
    }
    CHECK(pthread_create(&thread, NULL, stirs, NULL) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(0);
        for (int tenths = 0; tenths < 200 && waitpid(child, NULL, WNOHANG) == 0; tenths++) {
            usleep(tenths < 20 ? 5000 : 100000);
            if (tenths == 199) {
                kill(child, SIGKILL);
                CHECK(!"it hangs");
            }
        }
    }
    is_over = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < PIPES; i++)
        CHECK(ppipe_close(ends[i][0]) == 0 && ppipe_close(ends[i][1]) == 0);
}

/* A parent and its child wait at descriptors and nowhere else, each in its own way. */
static void an_event_loop_misses_nothing(void) {
    enum { MESSAGES = 20000 };
    ppipe *there[2], *back[2];
    make(there, O_NONBLOCK);
    make(back, O_NONBLOCK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int in = ppipe_fd(there[0]), out = ppipe_fd(back[1]), number, count = 0;
        CHECK(ppipe_close(there[1]) == 0 && ppipe_close(back[0]) == 0);
        int loop = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event of_in = {.events = EPOLLIN | EPOLLET}, of_out = {.events = EPOLLOUT | EPOLLET}, event;
        CHECK(epoll_ctl(loop, EPOLL_CTL_ADD, in, &of_in) == 0 && epoll_ctl(loop, EPOLL_CTL_ADD, out, &of_out) == 0);
        for (;;) {
            ssize_t n = ppipe_recv(there[0], &number, sizeof number, NULL, 0);
            if (n == 0)
                break;
            if (n == -1) {
                CHECK(errno == EAGAIN && epoll_wait(loop, &event, 1, 20000) == 1);
                continue;
            }
            CHECK(number == count++);
            while (ppipe_send(back[1], &number, sizeof number, 0) == -1)
                CHECK(errno == EAGAIN && epoll_wait(loop, &event, 1, 20000) == 1);
        }
        _exit(count == MESSAGES ? 0 : 1);
    }
    CHECK(ppipe_close(there[0]) == 0 && ppipe_close(back[1]) == 0);
    int in = ppipe_fd(back[0]), out = ppipe_fd(there[1]), sent = 0, received = 0, number;
    while (received < MESSAGES) {
        fd_set readable, writable;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_SET(in, &readable);
        if (sent < MESSAGES)
            FD_SET(out, &writable);
        struct timeval limit = {.tv_sec = 20};
        CHECK(select((in > out ? in : out) + 1, &readable, &writable, NULL, &limit) > 0);
        if (FD_ISSET(out, &writable))
            while (sent < MESSAGES && ppipe_send(there[1], &sent, sizeof sent, 0) > 0)
                sent++;
        while (ppipe_recv(back[0], &number, sizeof number, NULL, 0) > 0)
            CHECK(number == received++);
    }
    CHECK(ppipe_close(there[1]) == 0);
    joined(child);
    CHECK(ppipe_close(back[0]) == 0);
}

int main(void) {
    a_descriptor_shows_what_that_of_a_pipe_shows();
    duplicates_have_one_descriptor_and_the_last_one_closes_it();
    a_handle_that_is_open_both_ways_shows_both();
    a_broken_pipe_is_no_signal_though_there_are_no_descriptors();
    a_forked_child_has_its_own_by_the_same_number();
    children_take_up_many_that_are_shown();
    an_event_loop_misses_nothing();
    return 0;
}
