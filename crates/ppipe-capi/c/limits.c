/* Where there is not enough of something: an error, and everything as it was. */
#include <sys/resource.h>

#include "check.h"

enum { MANY = 300 };

static void one_handle_can_be_polled_many_times(void) {
    static ppipe_pollfd fds[MANY];
    ppipe *end[2];
    make(end, 0);
    for (int i = 0; i < MANY; i++)
        fds[i] = (ppipe_pollfd){end[i % 2], i % 2 ? POLLOUT : i % 4 ? POLLIN : 0, 7};
    CHECK(ppipe_poll(fds, MANY, 0) == MANY / 2);
    CHECK(ppipe_write(end[1], "x", 1) == 1);
    CHECK(ppipe_poll(fds, MANY, -1) == MANY * 3 / 4);
    for (int i = 0; i < MANY; i++)
        CHECK(fds[i].revents == fds[i].events);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_poll(fds, MANY, -1) == MANY);
    CHECK(fds[0].revents == POLLHUP && fds[1].revents == POLLNVAL && fds[2].revents == (POLLIN | POLLHUP));
    CHECK(ppipe_close(end[0]) == 0);
}

static void nobody_can_poll_more_than_there_can_be(void) {
    ppipe_pollfd fds[1] = {{NULL, POLLIN, 0}};
    nfds_t wrong[] = {(nfds_t)-1, (nfds_t)1 << 40, (nfds_t)1 << 32, ((nfds_t)-1) / sizeof fds[0] + 1};
    struct pollfd of_kernel[1] = {{-1, POLLIN, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        FAILS(ppipe_poll(fds, wrong[i], 0), EINVAL);
    volatile nfds_t most = (nfds_t)-1;
    FAILS(poll(of_kernel, most, 0), EINVAL);
    FAILS(ppipe_poll((ppipe_pollfd *)((char *)fds + 1), 1, 0), EFAULT);
}

/* A child for whose handle there was nothing has none: whole, also of a handle that reads and writes and of which one side could be had. */
static void a_child_for_which_there_are_no_descriptors_has_no_handle(void) {
    struct rlimit limit, before;
    ppipe *end[2];
    make(end, 0);
    ppipe *both = ppipe_reopen(end[0], O_RDWR);
    CHECK(both != NULL);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int highest = dup(0);
    CHECK(highest >= 0 && close(highest) == 0);
    for (int spare = 0; spare < 12; spare++) {
        limit = before;
        limit.rlim_cur = (rlim_t)(highest + spare);
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            ppipe *handles[] = {end[0], end[1], both};
            ppipe_pollfd fds[3];
            int closed = 0;
            CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
            for (int i = 0; i < 3; i++)
                fds[i] = (ppipe_pollfd){handles[i], POLLIN | POLLOUT, 0};
            CHECK(ppipe_poll(fds, 3, 0) >= 1);
            for (int i = 0; i < 3; i++) {
                if (!(fds[i].revents & POLLNVAL)) {
                    CHECK(ppipe_getfl(handles[i]) == (i == 0 ? O_RDONLY : i == 1 ? O_WRONLY : O_RDWR));
                    CHECK(ppipe_close(handles[i]) == 0);
                    continue;
                }
                closed++;
                FAILS(ppipe_getfl(handles[i]), EBADF);
                FAILS(ppipe_close(handles[i]), EBADF);
                FAILS_NULL(ppipe_dup(handles[i]), EBADF);
            }
            CHECK(spare > 0 || closed == 3);
            /* The places are used again, and the old numbers mean nothing. */
            ppipe *next[2];
            make(next, 0);
            for (int i = 0; i < 3; i++)
                FAILS(ppipe_getfl(handles[i]), EBADF);
            CHECK(ppipe_close(next[0]) == 0 && ppipe_close(next[1]) == 0);
            _exit(0);
        }
        CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
        joined(child);
    }
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0 && ppipe_close(both) == 0);
}

int main(void) {
    one_handle_can_be_polled_many_times();
    nobody_can_poll_more_than_there_can_be();
    a_child_for_which_there_are_no_descriptors_has_no_handle();
    return 0;
}
