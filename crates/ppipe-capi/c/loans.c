/* Loans: filled in place, looked at in place, and every one that is over or never was is found out. */
#include "check.h"
#include <dirent.h>

enum { BIG = 20000, CAPACITY = 65536 };

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    CHECK(closedir(folder) == 0);
    return count;
}

static ppipe_loan *lent(ppipe *p, size_t n, void **bytes) {
    ppipe_loan *loan;
    CHECK(ppipe_reserve(p, n, &loan, bytes, 0) == 0 && loan != NULL && *bytes != NULL);
    return loan;
}

static void packets_are_filled_and_looked_at_where_they_lie(void) {
    ppipe *end[2];
    size_t sizes[] = {1, 64, 4096, 4097, BIG, CAPACITY};
    make(end, O_NONBLOCK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        void *room;
        const void *got;
        ppipe_loan *loan = lent(end[1], n, &room);
        CHECK((size_t)room % 64 == 0);
        memset(room, 'a' + (int)i, n);
        FAILS(ppipe_recv_loan(end[0], &(ppipe_loan *){NULL}, &got, NULL, 0), EAGAIN);
        CHECK(ppipe_commit(loan, n, 0) == 0);
        struct ppipe_info info;
        CHECK(ppipe_recv_loan(end[0], &loan, &got, &info, 0) == (ssize_t)n);
        CHECK(info.length == n && !info.truncated && info.sender == getpid());
        for (size_t at = 0; at < n; at++)
            CHECK(((const char *)got)[at] == 'a' + (int)i);
        CHECK(ppipe_return(loan) == 0);
    }
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void a_commit_sends_what_was_filled_and_may_be_tried_again(void) {
    ppipe *end[2];
    char buf[8];
    void *room;
    make(end, O_NONBLOCK);
    size_t sizes[] = {100, BIG};
    for (int i = 0; i < 2; i++) {
        ppipe_loan *loan = lent(end[1], sizes[i], &room);
        memcpy(room, "begin", 5);
        FAILS(ppipe_commit(loan, sizes[i] + 1, 0), EINVAL);
        FAILS(ppipe_commit(loan, 5, MSG_OOB), EINVAL);
        while (ppipe_send(end[1], "x", 1, 0) == 1)
            ;
        FAILS(ppipe_commit(loan, 5, 0), EAGAIN);
        CHECK(ppipe_setfl(end[1], 0) == 0);
        FAILS(ppipe_commit(loan, 5, MSG_DONTWAIT), EAGAIN);
        CHECK(ppipe_setfl(end[1], O_NONBLOCK) == 0);
        while (ppipe_recv(end[0], buf, 8, NULL, 0) == 1)
            ;
        CHECK(ppipe_commit(loan, 5, 0) == 0);
        CHECK(ppipe_recv(end[0], buf, 8, NULL, 0) == 5 && memcmp(buf, "begin", 5) == 0);
        FAILS(ppipe_commit(loan, 5, 0), EBADF);
        /* No bytes, no packet. */
        CHECK(ppipe_commit(lent(end[1], sizes[i], &room), 0, 0) == 0);
        CHECK(ppipe_commit(lent(end[1], 0, &room), 0, 0) == 0);
        FAILS(ppipe_recv(end[0], buf, 8, NULL, 0), EAGAIN);
    }
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void what_is_abandoned_is_not_sent_and_can_be_lent_again(void) {
    ppipe *end[2];
    char buf[8];
    void *room;
    make(end, O_NONBLOCK);
    CHECK(ppipe_abandon(lent(end[1], BIG, &room)) == 0);
    int before = descriptors();
    for (int i = 0; i < 1000; i++)
        CHECK(ppipe_abandon(lent(end[1], i % 2 ? 100 : BIG, &room)) == 0);
    FAILS(ppipe_recv(end[0], buf, 8, NULL, 0), EAGAIN);
    CHECK(descriptors() == before);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void wrong_arguments_and_loans_that_are_over_are_found_out(void) {
    ppipe *end[2];
    char buf[8];
    void *room = buf;
    const void *got = buf;
    ppipe_loan *loan = (ppipe_loan *)buf, *other;
    make(end, O_NONBLOCK);
    FAILS(ppipe_reserve(end[1], CAPACITY + 1, &loan, &room, 0), EMSGSIZE);
    CHECK(loan == NULL && room == NULL);
    FAILS(ppipe_reserve(end[0], 1, &loan, &room, 0), EBADF);
    FAILS(ppipe_reserve(NULL, 1, &loan, &room, 0), EBADF);
    FAILS(ppipe_reserve(end[1], 1, NULL, &room, 0), EFAULT);
    FAILS(ppipe_reserve(end[1], 1, &loan, NULL, 0), EFAULT);
    FAILS(ppipe_reserve(end[1], 1, &loan, &room, MSG_PEEK), EINVAL);
    FAILS(ppipe_recv_loan(end[1], &loan, &got, NULL, 0), EBADF);
    FAILS(ppipe_recv_loan(NULL, &loan, &got, NULL, 0), EBADF);
    FAILS(ppipe_recv_loan(end[0], NULL, &got, NULL, 0), EFAULT);
    FAILS(ppipe_recv_loan(end[0], &loan, NULL, NULL, 0), EFAULT);
    FAILS(ppipe_recv_loan(end[0], &loan, &got, NULL, MSG_PEEK), EINVAL);
    CHECK(loan == NULL && got == NULL);
    /* Of one kind and not of the other; and once. */
    loan = lent(end[1], 1, &room);
    *(char *)room = 'x';
    FAILS(ppipe_return(loan), EBADF);
    CHECK(ppipe_commit(loan, 1, 0) == 0);
    CHECK(ppipe_recv_loan(end[0], &other, &got, NULL, 0) == 1);
    CHECK(*(const char *)got == 'x');
    FAILS(ppipe_commit(other, 1, 0), EBADF);
    FAILS(ppipe_abandon(other), EBADF);
    CHECK(ppipe_return(other) == 0);
    ppipe_loan *wrong[] = {NULL, loan, other, (ppipe_loan *)end[0], (ppipe_loan *)buf, (ppipe_loan *)2, (ppipe_loan *)-1,
                           (ppipe_loan *)0xfffffff2, (ppipe_loan *)0x10000ff2};
    /* Their places are used again, and they are not taken for the new ones. */
    ppipe_loan *next = lent(end[1], 1, &room), *one_more = lent(end[1], 1, &room);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FAILS(ppipe_commit(wrong[i], 1, 0), EBADF);
        FAILS(ppipe_abandon(wrong[i]), EBADF);
        FAILS(ppipe_return(wrong[i]), EBADF);
    }
    FAILS(ppipe_close((ppipe *)next), EBADF);
    CHECK(ppipe_abandon(next) == 0 && ppipe_abandon(one_more) == 0);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

static void a_loan_lives_on_when_its_handle_is_closed(void) {
    ppipe *end[2];
    void *room;
    const void *got;
    char buf[8];
    ppipe_loan *loan, *other;
    make(end, 0);
    loan = lent(end[1], BIG, &room);
    CHECK(ppipe_send(end[1], "news", 4, 0) == 4 && ppipe_close(end[1]) == 0);
    CHECK(ppipe_recv_loan(end[0], &other, &got, NULL, 0) == 4);
    /* Who has a loan can still write: no end of file. */
    CHECK(ppipe_setfl(end[0], O_NONBLOCK) == 0);
    FAILS(ppipe_recv(end[0], buf, 8, NULL, 0), EAGAIN);
    memset(room, 'y', BIG);
    CHECK(ppipe_commit(loan, BIG, 0) == 0);
    CHECK(ppipe_recv(end[0], buf, 8, NULL, 0) == 8 && buf[7] == 'y');
    CHECK(ppipe_recv_loan(end[0], &loan, &got, NULL, 0) == 0 && loan == NULL && got == NULL);
    CHECK(ppipe_close(end[0]) == 0);
    CHECK(ppipe_return(other) == 0);
    FAILS(ppipe_return(other), EBADF);
}

static void a_broken_pipe_leaves_a_loan_to_be_abandoned(void) {
    ppipe *end[2];
    void *room;
    make(end, 0);
    ppipe_loan *loan = lent(end[1], BIG, &room), *small = lent(end[1], 1, &room);
    CHECK(ppipe_close(end[0]) == 0);
    FAILS(ppipe_commit(loan, BIG, 0), EPIPE);
    FAILS(ppipe_commit(small, 1, 0), EPIPE);
    CHECK(ppipe_abandon(loan) == 0 && ppipe_abandon(small) == 0 && ppipe_close(end[1]) == 0);
}

static void many_loans_of_one_handle_are_out_at_once(void) {
    ppipe *end[2];
    ppipe_loan *loan[10];
    void *room[10];
    const void *got[10];
    make(end, 0);
    for (int i = 0; i < 10; i++) {
        loan[i] = lent(end[1], i % 2 ? 8 : BIG, &room[i]);
        memset(room[i], '0' + i, 8);
    }
    for (int i = 9; i >= 0; i--)
        CHECK(ppipe_commit(loan[i], 8, 0) == 0);
    for (int i = 9; i >= 0; i--)
        CHECK(ppipe_recv_loan(end[0], &loan[i], &got[i], NULL, 0) == 8);
    for (int i = 0; i < 10; i++) {
        CHECK(*(const char *)got[i] == '0' + i);
        CHECK(ppipe_return(loan[i]) == 0);
    }
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(end[1]) == 0);
}

enum { THREADS = 4, ROUNDS = 3000 };
static ppipe *shared[2];
static long long sum;

static void *fills(void *from) {
    long long first = (long long)(size_t)from * ROUNDS;
    for (long long i = 0; i < ROUNDS; i++) {
        void *room;
        ppipe_loan *loan = lent(shared[1], i % 7 ? 8 : 5000, &room);
        *(long long *)room = first + i;
        CHECK(ppipe_commit(loan, i % 7 ? 8 : 5000, 0) == 0);
    }
    return NULL;
}

static void *looks(void *unused) {
    ppipe_loan *loan;
    const void *got;
    ssize_t n;
    (void)unused;
    while ((n = ppipe_recv_loan(shared[0], &loan, &got, NULL, 0)) > 0) {
        long long number;
        memcpy(&number, got, sizeof number);
        __atomic_fetch_add(&sum, number, __ATOMIC_RELAXED);
        CHECK(ppipe_return(loan) == 0);
    }
    CHECK(n == 0);
    return NULL;
}

static void threads_lend_of_one_handle(void) {
    pthread_t w[THREADS], r[THREADS];
    make(shared, 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&r[i], NULL, looks, NULL) == 0 && pthread_create(&w[i], NULL, fills, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(w[i], NULL) == 0);
    CHECK(ppipe_close(shared[1]) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(r[i], NULL) == 0);
    long long all = (long long)THREADS * ROUNDS;
    CHECK(sum == all * (all - 1) / 2);
    CHECK(ppipe_close(shared[0]) == 0);
}

static int over;

static void *ends_it(void *loan) {
    if (ppipe_abandon(loan) == 0)
        __atomic_fetch_add(&over, 1, __ATOMIC_RELAXED);
    else
        CHECK(errno == EBADF);
    return NULL;
}

static void of_those_who_end_one_loan_at_once_one_has_ended_it(void) {
    void *room;
    pthread_t thread[THREADS];
    make(shared, 0);
    for (int i = 0; i < 100; i++) {
        ppipe_loan *loan = lent(shared[1], i % 2 ? 8 : BIG, &room);
        over = 0;
        for (int j = 0; j < THREADS; j++)
            CHECK(pthread_create(&thread[j], NULL, ends_it, loan) == 0);
        for (int j = 0; j < THREADS; j++)
            CHECK(pthread_join(thread[j], NULL) == 0);
        CHECK(over == 1);
    }
    CHECK(ppipe_close(shared[0]) == 0 && ppipe_close(shared[1]) == 0);
}

/* Before a fork some loans are out, and a thread waits for one; the child has none of them, and no descriptor of theirs. */
static void a_forked_child_inherits_no_loans(void) {
    ppipe *end[2];
    void *room, *mine;
    const void *got;
    char buf[8];
    ppipe_loan *loan, *large, *received;
    pthread_t thread;
    make(end, 0);
    make(shared, 0);
    sum = 0;
    int before = descriptors();
    CHECK(ppipe_send(end[1], "kept", 4, 0) == 4 && ppipe_recv_loan(end[0], &received, &got, NULL, 0) == 4);
    loan = lent(end[1], 8, &room);
    large = lent(end[1], BIG, &room);
    memset(room, 'p', BIG);
    CHECK(pthread_create(&thread, NULL, looks, NULL) == 0);
    usleep(100000);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(descriptors() == before);
        FAILS(ppipe_commit(loan, 8, 0), EBADF);
        FAILS(ppipe_abandon(large), EBADF);
        FAILS(ppipe_return(received), EBADF);
        /* Its own are others, though the places be the same. */
        ppipe_loan *of_child = lent(end[1], BIG, &mine);
        CHECK(of_child != loan && of_child != large && of_child != received && mine != room);
        memset(mine, 'c', BIG);
        CHECK(ppipe_commit(of_child, BIG, 0) == 0);
        CHECK(ppipe_close(end[1]) == 0 && ppipe_close(shared[1]) == 0);
        /* Longer than its parent has them. */
        CHECK(ppipe_recv(shared[0], buf, 8, NULL, 0) == 0);
        _exit(0);
    }
    CHECK(ppipe_recv(end[0], buf, 8, NULL, 0) == 8 && buf[0] == 'c');
    CHECK(((char *)room)[0] == 'p' && ((char *)room)[BIG - 1] == 'p' && memcmp(got, "kept", 4) == 0);
    CHECK(ppipe_commit(large, BIG, 0) == 0 && ppipe_abandon(loan) == 0 && ppipe_return(received) == 0);
    CHECK(ppipe_recv(end[0], buf, 8, NULL, 0) == 8 && buf[0] == 'p');
    /* What the loans had is closed with the handle, whatever the child does: it is the end of file. */
    CHECK(ppipe_close(end[1]) == 0 && ppipe_recv(end[0], buf, 8, NULL, 0) == 0);
    CHECK(ppipe_close(shared[1]) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    joined(child);
    CHECK(ppipe_close(end[0]) == 0 && ppipe_close(shared[0]) == 0);
}

int main(void) {
    packets_are_filled_and_looked_at_where_they_lie();
    a_commit_sends_what_was_filled_and_may_be_tried_again();
    what_is_abandoned_is_not_sent_and_can_be_lent_again();
    wrong_arguments_and_loans_that_are_over_are_found_out();
    a_loan_lives_on_when_its_handle_is_closed();
    a_broken_pipe_leaves_a_loan_to_be_abandoned();
    many_loans_of_one_handle_are_out_at_once();
    threads_lend_of_one_handle();
    of_those_who_end_one_loan_at_once_one_has_ended_it();
    a_forked_child_inherits_no_loans();
    return 0;
}
