/* pipe, fork, and both go on: as with descriptors. */
#include "check.h"

/* The classic: the child writes, the parent reads to the end of file. */
static void a_child_writes_and_its_end_is_the_end_of_file(void) {
    ppipe *end[2];
    char buf[16];
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(end[0]) == 0);
        usleep(50000);
        CHECK(ppipe_write(end[1], "from the child", 14) == 14);
        _exit(0);
    }
    CHECK(ppipe_close(end[1]) == 0);
    CHECK(ppipe_read(end[0], buf, 16) == 14 && memcmp(buf, "from the child", 14) == 0);
    CHECK(ppipe_read(end[0], buf, 16) == 0);
    joined(child);
    CHECK(ppipe_close(end[0]) == 0);
}

static void a_parent_writes_and_its_close_is_the_end_of_file(void) {
    ppipe *end[2];
    char buf[16];
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(end[1]) == 0);
        CHECK(ppipe_read(end[0], buf, 16) == 4);
        CHECK(ppipe_read(end[0], buf, 16) == 0);
        exit(0);
    }
    CHECK(ppipe_close(end[0]) == 0);
    CHECK(ppipe_write(end[1], "news", 4) == 4 && ppipe_close(end[1]) == 0);
    joined(child);
}

/* A child that does nothing at all keeps its copies open, and gives them back. */
static void a_child_that_does_nothing_holds_the_pipe_open_as_long_as_it_lives(void) {
    ppipe *end[2];
    char buf[1];
    int go[2];
    CHECK(pipe(go) == 0);
    make(end, O_NONBLOCK);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(go[1]);
        CHECK(read(go[0], buf, 1) == 0);
        _exit(0);
    }
    close(go[0]);
    CHECK(ppipe_close(end[1]) == 0);
    FAILS(ppipe_read(end[0], buf, 1), EAGAIN);
    close(go[1]);
    joined(child);
    CHECK(ppipe_read(end[0], buf, 1) == 0 && ppipe_close(end[0]) == 0);
}

static void flags_are_shared_with_a_child(void) {
    ppipe *end[2];
    char buf[8];
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_setfl(end[0], O_NONBLOCK) == 0 && ppipe_setfl(end[1], O_DIRECT) == 0);
        _exit(0);
    }
    joined(child);
    CHECK(ppipe_getfl(end[0]) == (O_RDONLY | O_NONBLOCK) && ppipe_getfl(end[1]) == (O_WRONLY | O_DIRECT));
    FAILS(ppipe_read(end[0], buf, 8), EAGAIN);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void *blocked(void *p) {
    char c;
    return (void *)ppipe_read(p, &c, 1);
}

static void a_child_of_a_process_whose_threads_are_in_the_midst_of_calls_has_its_handles(void) {
    ppipe *end[2], *back[2];
    char buf[8];
    pthread_t thread;
    void *got;
    make(end, 0);
    make(back, 0);
    CHECK(pthread_create(&thread, NULL, blocked, end[0]) == 0);
    usleep(100000);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(back[1]) == 0);
        CHECK(ppipe_write(end[1], "x", 1) == 1);
        CHECK(ppipe_read(back[0], buf, 8) == 4);
        CHECK(ppipe_read(back[0], buf, 8) == 0);
        _exit(0);
    }
    CHECK(pthread_join(thread, &got) == 0 && got == (void *)1);
    CHECK(ppipe_write(back[1], "back", 4) == 4 && ppipe_close(back[1]) == 0);
    joined(child);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_read(end[0], buf, 8) == 0);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(back[0]) == 0);
}

/* Children of children, all writing at once; every line arrives whole. */
static void a_tree_of_processes_writes(void) {
    ppipe *end[2];
    char buf[64];
    int lines = 0;
    make(end, O_DIRECT);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(end[0]) == 0);
        pid_t mine[3];
        int count = 0;
        for (int i = 0; i < 3; i++) {
            mine[count] = fork();
            CHECK(mine[count] >= 0);
            if (mine[count] == 0) {
                count = 0;
                continue;
            }
            count++;
        }
        for (int i = 0; i < 200; i++)
            CHECK(ppipe_write(end[1], "a line of some length", 21) == 21);
        while (count > 0)
            joined(mine[--count]);
        _exit(0);
    }
    CHECK(ppipe_close(end[1]) == 0);
    ssize_t n;
    while ((n = ppipe_read(end[0], buf, sizeof buf)) > 0) {
        CHECK(n == 21 && memcmp(buf, "a line of some length", 21) == 0);
        lines++;
    }
    CHECK(n == 0 && lines == 8 * 200);
    joined(child);
    CHECK(ppipe_close(end[0]) == 0);
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

/* No descriptor of the parent's ends stays in the child, which has as many of its own. */
static void forks_leak_no_descriptors(void) {
    ppipe *end[2];
    make(end, 0);
    int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(open_descriptors() == before);
            CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
            /* They had seven between them. */
            CHECK(open_descriptors() == before - 7);
            _exit(0);
        }
        joined(child);
    }
    CHECK(open_descriptors() == before);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

int main(void) {
    a_child_writes_and_its_end_is_the_end_of_file();
    a_parent_writes_and_its_close_is_the_end_of_file();
    a_child_that_does_nothing_holds_the_pipe_open_as_long_as_it_lives();
    flags_are_shared_with_a_child();
    a_child_of_a_process_whose_threads_are_in_the_midst_of_calls_has_its_handles();
    a_tree_of_processes_writes();
    forks_leak_no_descriptors();
    return 0;
}
