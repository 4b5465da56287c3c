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
    a_broken_pipe_is_a_signal_only_if_asked_for();
    a_signal_ends_a_call_that_waits();
    return 0;
}
