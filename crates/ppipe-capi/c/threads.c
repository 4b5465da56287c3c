/* One handle, many threads; and signals. */
#include "check.h"

enum { THREADS = 6, ROUNDS = 5000 };
static ppipe *end[2];
static long long sum;

static void *writes(void *from) {
    long long first = (long long)(size_t)from * ROUNDS;
    for (long long i = 0; i < ROUNDS; i++) {
        long long number = first + i;
        CHECK(ppipe_send(end[1], &number, sizeof number, 0) == sizeof number);
    }
    return NULL;
}

static void *reads(void *unused) {
    long long number;
    ssize_t n;
    (void)unused;
    while ((n = ppipe_recv(end[0], &number, sizeof number, NULL, 0)) == sizeof number)
        __atomic_fetch_add(&sum, number, __ATOMIC_RELAXED);
    CHECK(n == 0);
    return NULL;
}

static void one_handle_is_used_by_many_threads(void *(*writes)(void *), void *(*reads)(void *)) {
    pthread_t w[THREADS], r[THREADS];
    make(end, 0);
    sum = 0;
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&r[i], NULL, reads, NULL) == 0 && pthread_create(&w[i], NULL, writes, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(w[i], NULL) == 0);
    CHECK(ppipe_close(end[1]) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(r[i], NULL) == 0);
    long long all = (long long)THREADS * ROUNDS;
    CHECK(sum == all * (all - 1) / 2);
    CHECK(ppipe_close(end[0]) == 0);
}

static void *writes_batches(void *from) {
    long long first = (long long)(size_t)from * ROUNDS, number[50];
    struct iovec packet[50];
    for (int i = 0; i < ROUNDS; i += 50) {
        for (int j = 0; j < 50; j++) {
            number[j] = first + i + j;
            packet[j] = (struct iovec){&number[j], sizeof number[j]};
        }
        CHECK(ppipe_send_batch(end[1], packet, 50, 0) == 50);
    }
    return NULL;
}

static void *reads_batches(void *unused) {
    long long number[20];
    struct iovec room[20];
    struct ppipe_info info[20];
    int n;
    (void)unused;
    for (int i = 0; i < 20; i++)
        room[i] = (struct iovec){&number[i], sizeof number[i]};
    while ((n = ppipe_recv_batch(end[0], room, info, 20, 0)) > 0)
        for (int i = 0; i < n; i++) {
            CHECK(info[i].length == sizeof number[i]);
            __atomic_fetch_add(&sum, number[i], __ATOMIC_RELAXED);
        }
    CHECK(n == 0);
    return NULL;
}

static void *waits(void *p) {
    char c;
    return (void *)ppipe_read(p, &c, 1);
}

/* While one waits, others can ask, and close; the one who waits goes on to the end of its call. */
static void a_handle_can_be_asked_and_closed_while_a_thread_waits_with_it(void) {
    pthread_t thread;
    void *got;
    int n;
    make(end, 0);
    CHECK(pthread_create(&thread, NULL, waits, end[0]) == 0);
    usleep(100000);
    CHECK(ppipe_nread(end[0], &n) == 0 && n == 0 && ppipe_getsize(end[0]) == 65536 && ppipe_getfl(end[0]) == O_RDONLY);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_close(end[0]), EBADF);
    CHECK(ppipe_write(end[1], "x", 1) == 1);
    CHECK(pthread_join(thread, &got) == 0 && got == (void *)1);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

/* Handles come and go, and their places are used again by ends of the other side; who asks one that has gone is told so, and of no other one. */
static ppipe *volatile now[2];
static volatile int is_over;

static void *comes_and_goes(void *at) {
    size_t side = (size_t)at;
    for (int i = 0; i < 1000; i++) {
        ppipe *old = now[side], *next = ppipe_dup(end[side]);
        CHECK(next != NULL);
        now[side] = next;
        CHECK(ppipe_close(old) == 0);
        FAILS(ppipe_close(old), EBADF);
    }
    return NULL;
}

static void *asks(void *at) {
    size_t side = (size_t)at;
    while (!is_over) {
        int flags = ppipe_getfl(now[side]);
        CHECK(flags == (side == 0 ? O_RDONLY : O_WRONLY) || (flags == -1 && errno == EBADF));
    }
    return NULL;
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void handles_come_and_go_while_others_ask_them(void) {
    pthread_t comes[2], asking[4];
    make(end, 0);
    int before = open_descriptors();
    for (size_t side = 0; side < 2; side++)
        CHECK((now[side] = ppipe_dup(end[side])) != NULL);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&asking[i], NULL, asks, (void *)(i % 2)) == 0);
    for (size_t side = 0; side < 2; side++)
        CHECK(pthread_create(&comes[side], NULL, comes_and_goes, (void *)side) == 0);
    for (int side = 0; side < 2; side++)
        CHECK(pthread_join(comes[side], NULL) == 0);
    is_over = 1;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(asking[i], NULL) == 0);
    CHECK(ppipe_close(now[0]) == 0 && ppipe_close(now[1]) == 0 && open_descriptors() == before);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static volatile sig_atomic_t broken;

static void count_broken(int signal) {
    (void)signal;
    broken++;
}

static void a_broken_pipe_is_a_signal_only_if_asked_for(void) {
    signal(SIGPIPE, count_broken);
    make(end, 0);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(broken == 0);
    CHECK(ppipe_setfl(end[1], PPIPE_SIGPIPE) == 0 && ppipe_getfl(end[1]) == (O_WRONLY | PPIPE_SIGPIPE));
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    FAILS(ppipe_send(end[1], "x", 1, 0), EPIPE);
    CHECK(broken == 2);
    CHECK(ppipe_close(end[1]) == 0);
}

static void ignore(int signal) {
    (void)signal;
}

static void *interrupts(void *thread) {
    for (int i = 0; i < 100; i++) {
        usleep(20000);
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
    }
    return NULL;
}

static void a_signal_ends_a_call_that_waits(void) {
    pthread_t self = pthread_self(), other;
    struct sigaction action = {.sa_handler = ignore};
    char c;
    sigaction(SIGUSR1, &action, NULL);
    make(end, 0);
    CHECK(pthread_create(&other, NULL, interrupts, &self) == 0);
    FAILS(ppipe_read(end[0], &c, 1), EINTR);
    signal(SIGUSR1, SIG_IGN);
    CHECK(pthread_cancel(other) == 0 && pthread_join(other, NULL) == 0);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

int main(void) {
    one_handle_is_used_by_many_threads(writes, reads);
    one_handle_is_used_by_many_threads(writes_batches, reads_batches);
    a_handle_can_be_asked_and_closed_while_a_thread_waits_with_it();
    handles_come_and_go_while_others_ask_them();
    a_broken_pipe_is_a_signal_only_if_asked_for();
    a_signal_ends_a_call_that_waits();
    return 0;
}
