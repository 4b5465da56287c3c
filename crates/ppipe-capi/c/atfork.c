/* A program's own handlers of forks and of its end, and handlers of signals: what they can do with pipes. */
#include "check.h"

static ppipe *end[2];
static int closes;

static void before(void) {
    if (end[0] == NULL)
        return;
    ppipe *again = ppipe_dup(end[0]);
    CHECK(again != NULL && ppipe_close(again) == 0);
}

static void in_parent(void) {
    if (end[0] != NULL)
        CHECK(ppipe_getsize(end[0]) == 65536);
}

static void in_child(void) {
    if (closes)
        CHECK(ppipe_write(end[1], "x", 1) == 1 && ppipe_close(end[0]) == 0);
}

/* Earlier than main, later than the library's own. */
__attribute__((constructor)) static void begin(void) {
    CHECK(pthread_atfork(before, in_parent, in_child) == 0);
}

static void handlers_of_a_program_find_its_pipes_as_they_are_to_be(void) {
    char c;
    make(end, 0);
    closes = 1;
    alarm(20);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            FAILS(ppipe_close(end[0]), EBADF);
            _exit(0);
        }
        CHECK(ppipe_read(end[0], &c, 1) == 1);
        joined(child);
    }
    alarm(0);
    closes = 0;
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
    end[0] = NULL;
}

static volatile pid_t forked;

static void forks(int signal) {
    (void)signal;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(0);
    forked = child;
}

static void *signals(void *thread) {
    usleep(200000);
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    while (forked == 0)
        usleep(1000);
    CHECK(ppipe_write(end[1], "x", 1) == 1);
    return NULL;
}

/* A handler forks while its thread sleeps in a call; the call goes on. */
static void a_handler_of_a_signal_forks(void) {
    struct sigaction action = {.sa_handler = forks, .sa_flags = SA_RESTART};
    pthread_t self = pthread_self(), other;
    char c;
    sigaction(SIGUSR1, &action, NULL);
    make(end, 0);
    alarm(20);
    CHECK(pthread_create(&other, NULL, signals, &self) == 0);
    CHECK(ppipe_read(end[0], &c, 1) == 1);
    CHECK(pthread_join(other, NULL) == 0);
    joined(forked);
    alarm(0);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
    end[0] = NULL;
}

static void forks_at_exit(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_write(end[1], "x", 1) == 1);
        _exit(0);
    }
    joined(child);
    _exit(7);
}

static void a_handler_of_the_end_forks(void) {
    int status;
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(atexit(forks_at_exit) == 0);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
    end[0] = NULL;
}

int main(void) {
    handlers_of_a_program_find_its_pipes_as_they_are_to_be();
    a_handler_of_a_signal_forks();
    a_handler_of_the_end_forks();
    return 0;
}
