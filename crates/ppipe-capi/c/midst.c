/* Forks in the midst of what other threads do: whatever that is, a child has the handles of its parent and nothing else of it. */
#include <dirent.h>
#include <sys/prctl.h>

#include "check.h"

static ppipe *end[2];
static char big[200000];

static int descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void start(void *(*thread)(void *), void *what) {
    pthread_t started;
    CHECK(pthread_create(&started, NULL, thread, what) == 0);
}

/* The first pipe of a process, and the first one of its child, which is forked while a thread is making it: in processes that have none yet. */
static volatile int begins;

static void *makes(void *unused) {
    ppipe *of[2];
    (void)unused;
    begins = 1;
    make(of, 0);
    return NULL;
}

static void a_child_makes_its_first_pipe_whatever_its_parent_was_making(void) {
    for (int i = 0; i < 60; i++) {
        pid_t parent = fork();
        CHECK(parent >= 0);
        if (parent == 0) {
            start(makes, NULL);
            while (!begins)
                ;
            for (volatile int later = 0; later < i * 5000; later++)
                ;
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                alarm(20);
                make(end, 0);
                _exit(0);
            }
            joined(child);
            _exit(0);
        }
        joined(parent);
    }
}

/* A handle that a child has is the one that its parent has, though others come and go where it is. Each pipe has its handle's number in it. */
static ppipe *volatile current;
static volatile int is_over;

static void *closes_and_opens(void *unused) {
    (void)unused;
    while (!is_over) {
        ppipe *of[2];
        make(of, O_NONBLOCK);
        CHECK(ppipe_send(of[1], &of[0], sizeof of[0], 0) == sizeof of[0]);
        __atomic_store_n(&current, of[0], __ATOMIC_SEQ_CST);
        usleep(20);
        __atomic_store_n(&current, NULL, __ATOMIC_SEQ_CST);
        CHECK(ppipe_close(of[0]) == 0 && ppipe_close(of[1]) == 0);
    }
    return NULL;
}

static void a_number_means_the_same_pipe_in_parent_and_child(void) {
    ppipe *others[10][2];
    pthread_t thread;
    int seen = 0;
    for (int i = 0; i < 10; i++)
        make(others[i], 0);
    CHECK(pthread_create(&thread, NULL, closes_and_opens, NULL) == 0);
    for (int i = 0; i < 2000 && seen < 100; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            ppipe *mine = current, *in_it = NULL;
            if (mine == NULL)
                _exit(9);
            CHECK(ppipe_recv(mine, &in_it, sizeof in_it, NULL, MSG_PEEK) == sizeof in_it && in_it == mine);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) % 9 == 0);
        if (WEXITSTATUS(status) == 9) {
            usleep(10);
            continue;
        }
        seen++;
    }
    CHECK(seen > 0);
    is_over = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < 10; i++)
        CHECK(ppipe_close(others[i][0]) == 0 && ppipe_close(others[i][1]) == 0);
}

/* Of two children that are forked at once none has what was meant for the other one. */
static pthread_barrier_t both;
static pid_t children[2];
static int stays[2];

static void *forks(void *which) {
    char c;
    pthread_barrier_wait(&both);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (which == NULL)
            _exit(0);
        close(stays[1]);
        CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
        CHECK(read(stays[0], &c, 1) == 0);
        _exit(0);
    }
    children[which != NULL] = child;
    return NULL;
}

static void who_has_closed_keeps_nothing_open_that_was_for_another_child(void) {
    ppipe *others[10][2];
    char c;
    for (int i = 0; i < 10; i++)
        make(others[i], 0);
    for (int i = 0; i < 40; i++) {
        pthread_t forkers[2];
        CHECK(pipe(stays) == 0);
        make(end, 0);
        CHECK(pthread_barrier_init(&both, NULL, 2) == 0);
        for (size_t j = 0; j < 2; j++)
            CHECK(pthread_create(&forkers[j], NULL, forks, (void *)j) == 0);
        for (int j = 0; j < 2; j++)
            CHECK(pthread_join(forkers[j], NULL) == 0);
        CHECK(ppipe_close(end[1]) == 0);
        joined(children[0]);
        alarm(20);
        CHECK(ppipe_read(end[0], &c, 1) == 0);
        alarm(0);
        close(stays[0]);
        close(stays[1]);
        joined(children[1]);
        CHECK(ppipe_close(end[0]) == 0);
    }
    for (int i = 0; i < 10; i++)
        CHECK(ppipe_close(others[i][0]) == 0 && ppipe_close(others[i][1]) == 0);
}

static void *writes(void *unused) {
    (void)unused;
    ppipe_write(end[1], big, sizeof big);
    return NULL;
}

static void *reads(void *p) {
    char c;
    return (void *)ppipe_read(p, &c, 1);
}

/* What several threads write with, in the midst of it, is the parent's: with it they are gone. */
static void threads_of_a_parent_that_is_killed_are_no_writers(void) {
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        int is_killed[2];
        char buf[4096];
        make(end, 0);
        for (int i = 0; i < 3; i++)
            start(writes, NULL);
        usleep(200000);
        CHECK(pipe(is_killed) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            ssize_t n;
            close(is_killed[1]);
            CHECK(ppipe_close(end[1]) == 0);
            CHECK(read(is_killed[0], buf, 1) == 0);
            while ((n = ppipe_read(end[0], buf, sizeof buf)) > 0)
                ;
            CHECK(n == 0);
            _exit(0);
        }
        raise(SIGKILL);
    }
    int status;
    CHECK(waitpid(parent, &status, 0) == parent && WIFSIGNALED(status));
    /* Its child, which is ours by now. */
    alarm(20);
    CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    alarm(0);
}

static char name[64];

static void *opens(void *unused) {
    (void)unused;
    ppipe_open(name, O_RDONLY | O_CREAT, 0600);
    return NULL;
}

/* One that waits in ppipe_open is no reader any more when its process has been killed. */
static void a_thread_of_a_parent_that_is_killed_opens_nothing(void) {
    int is_seen[2], is_there[2];
    char c;
    snprintf(name, sizeof name, "test-%d-midst", (int)getpid());
    CHECK(pipe(is_seen) == 0 && pipe(is_there) == 0);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        make(end, 0);
        start(opens, NULL);
        usleep(200000);
        close(is_seen[1]);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(write(is_there[1], "x", 1) == 1);
            CHECK(read(is_seen[0], &c, 1) == 0);
            _exit(0);
        }
        raise(SIGKILL);
    }
    close(is_seen[0]);
    CHECK(read(is_there[0], &c, 1) == 1);
    int status;
    CHECK(waitpid(parent, &status, 0) == parent && WIFSIGNALED(status));
    FAILS_NULL(ppipe_open(name, O_WRONLY | O_NONBLOCK | O_CREAT, 0600), ENXIO);
    close(is_seen[1]);
    close(is_there[0]);
    close(is_there[1]);
    CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* All that is left of five ends in the midst of a read is the memory that they share. */
static void a_child_closes_what_threads_of_its_parent_use(void) {
    int before = descriptors();
    make(end, 0);
    for (int i = 0; i < 5; i++)
        start(reads, end[0]);
    /* Now they sleep for long. */
    usleep(1500000);
    CHECK(descriptors() > before + 15);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
        CHECK(descriptors() <= before + 1);
        _exit(0);
    }
    joined(child);
    CHECK(ppipe_write(end[1], "12345", 5) == 5 && ppipe_close(end[1]) == 0 && ppipe_close(end[0]) == 0);
}

/* What a child closes was its parent's, and nothing that has its number since. */
static void a_child_closes_nothing_twice(void) {
    make(end, 0);
    for (int i = 0; i < 3; i++)
        start(reads, end[0]);
    usleep(100000);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int files[40], now;
        for (int i = 0; i < 40; i++)
            CHECK((files[i] = dup(0)) >= 0);
        now = descriptors();
        CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
        CHECK(descriptors() < now);
        for (int i = 0; i < 40; i++)
            CHECK(close(files[i]) == 0);
        _exit(0);
    }
    joined(child);
    CHECK(ppipe_write(end[1], "123", 3) == 3 && ppipe_close(end[1]) == 0 && ppipe_close(end[0]) == 0);
}

int main(void) {
    /* Whoever is left by its parent comes to us. */
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    a_child_makes_its_first_pipe_whatever_its_parent_was_making();
    a_number_means_the_same_pipe_in_parent_and_child();
    who_has_closed_keeps_nothing_open_that_was_for_another_child();
    threads_of_a_parent_that_is_killed_are_no_writers();
    a_thread_of_a_parent_that_is_killed_opens_nothing();
    a_child_closes_what_threads_of_its_parent_use();
    a_child_closes_nothing_twice();
    return 0;
}
