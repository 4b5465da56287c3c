/* The end of a process: by exit all is left as by closing, by _exit as by a kill. */
#include "check.h"

static ppipe *end[2];
static char name[64];

/* To those who write it looks as if the last reader had closed. */
static void a_reader_that_exits_breaks_the_pipe_at_once(void) {
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        exit(0);
    CHECK(ppipe_close(end[0]) == 0);
    CHECK(ppipe_write(end[1], "x", 1) == 1 || errno == EPIPE);
    joined(child);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

/* One that has not said so is found out all the same. */
static void a_reader_that_is_gone_without_a_word_breaks_the_pipe(void) {
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(0);
    CHECK(ppipe_close(end[0]) == 0);
    joined(child);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

static void a_name_is_gone_with_the_process_that_had_its_last_handle(void) {
    snprintf(name, sizeof name, "test-%d-exits", (int)getpid());
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ppipe_loan *loan;
        void *room;
        ppipe *p = ppipe_open(name, O_RDWR | O_CREAT, 0600);
        /* What is lent is an end too. */
        CHECK(p != NULL && ppipe_reserve(p, 8, &loan, &room, 0) == 0);
        exit(0);
    }
    joined(child);
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/ppipe-%s", name);
    CHECK(access(path, F_OK) == -1 && errno == ENOENT);
}

/* A child leaves its own ends, and its parent's stay what they are: also one that knows of no fork. */
static void a_child_that_exits_takes_nothing_from_its_parent(void) {
    char buf[8];
    make(end, O_NONBLOCK);
    for (int i = 0; i < 3; i++) {
        pid_t child = i == 0 ? fork() : i == 1 ? _Fork() : vfork();
        CHECK(child >= 0);
        if (child == 0) {
            if (i == 2)
                _exit(0);
            exit(0);
        }
        joined(child);
        CHECK(ppipe_write(end[1], "here", 4) == 4 && ppipe_read(end[0], buf, 8) == 4);
        FAILS(ppipe_read(end[0], buf, 8), EAGAIN);
    }
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void *reads(void *p) {
    char c;
    return (void *)ppipe_read(p, &c, 1);
}

/* Threads in the midst of calls hold up nobody. */
static void a_process_exits_whatever_its_threads_do(void) {
    char c;
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ppipe *other[2];
        make(other, 0);
        for (int i = 0; i < 6; i++) {
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, reads, i % 2 ? end[0] : other[0]) == 0);
        }
        usleep(100000);
        alarm(20);
        exit(0);
    }
    joined(child);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_read(end[0], &c, 1) == 0 && ppipe_close(end[0]) == 0);
}

/* The program's own handlers of its end come before that. */
static int has_more;

static void says_so(void) {
    CHECK(ppipe_write(end[1], "last words", 10) == 10);
}

__attribute__((destructor)) static void says_more(void) {
    if (has_more)
        CHECK(ppipe_write(end[1], ", and more", 10) == 10);
}

static void handlers_of_the_end_can_use_pipes(void) {
    char buf[32];
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        has_more = 1;
        CHECK(atexit(says_so) == 0);
        exit(0);
    }
    joined(child);
    CHECK(ppipe_close(end[1]) == 0);
    CHECK(ppipe_read(end[0], buf, sizeof buf) == 20 && memcmp(buf, "last words, and more", 20) == 0);
    CHECK(ppipe_read(end[0], buf, sizeof buf) == 0 && ppipe_close(end[0]) == 0);
}

/* The last thread of the program: it ends when the first one has. */
static void *outlives_the_first(void *unused) {
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    do {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL && fgets(stat, sizeof stat, file) != NULL && fclose(file) == 0);
    } while (strstr(stat, ") Z ") == NULL);
    return unused;
}

/* What others have of it sees that it has gone, and exit handlers run, as without a pipe. */
static void a_process_ends_when_the_last_of_its_own_threads_does(void) {
    char buf[32];
    for (int is_watched = 0; is_watched < 2; is_watched++) {
        make(end, 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            pthread_t thread;
            CHECK(!is_watched || ppipe_fd(end[0]) >= 0);
            CHECK(atexit(says_so) == 0);
            CHECK(pthread_create(&thread, NULL, outlives_the_first, NULL) == 0 && pthread_detach(thread) == 0);
            pthread_exit(NULL);
        }
        joined(child);
        CHECK(ppipe_close(end[1]) == 0);
        CHECK(ppipe_read(end[0], buf, sizeof buf) == 10 && memcmp(buf, "last words", 10) == 0);
        CHECK(ppipe_read(end[0], buf, sizeof buf) == 0 && ppipe_close(end[0]) == 0);
    }
}

int main(void) {
    a_process_ends_when_the_last_of_its_own_threads_does();
    a_reader_that_exits_breaks_the_pipe_at_once();
    a_reader_that_is_gone_without_a_word_breaks_the_pipe();
    a_name_is_gone_with_the_process_that_had_its_last_handle();
    a_child_that_exits_takes_nothing_from_its_parent();
    a_process_exits_whatever_its_threads_do();
    handlers_of_the_end_can_use_pipes();
    return 0;
}
