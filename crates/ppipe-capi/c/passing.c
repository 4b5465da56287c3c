/* Ends that are passed over sockets, and to programs that are started. Started with a word, it is such a program. */
#include <spawn.h>

#include "check.h"

extern char **environ;

static const int KINDS[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

/* Everything up to the end of file is this. */
static void gives(ppipe *p, const char *text) {
    char buf[64];
    size_t length = 0;
    ssize_t n;
    while ((n = ppipe_read(p, buf + length, sizeof buf - length)) > 0)
        length += (size_t)n;
    CHECK(n == 0 && length == strlen(text) && memcmp(buf, text, length) == 0);
}

static int descriptors(void) {
    int count = 0;
    for (int i = 0; i < 1024; i++)
        count += fcntl(i, F_GETFD) != -1;
    return count;
}

static void an_end_goes_to_another_process_over_every_kind_of_socket(void) {
    for (int i = 0; i < 3; i++) {
        ppipe *there[2], *back[2];
        int socket[2];
        CHECK(socketpair(AF_UNIX, KINDS[i] | SOCK_CLOEXEC, 0, socket) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            char buf[8];
            close(socket[0]);
            ppipe *r = ppipe_recv_end(socket[1], 0), *w = ppipe_recv_end(socket[1], 0);
            CHECK(r != NULL && ppipe_getfl(r) == O_RDONLY);
            CHECK(w != NULL && ppipe_getfl(w) == (O_WRONLY | O_NONBLOCK | O_DIRECT));
            FAILS(ppipe_write(r, "x", 1), EBADF);
            CHECK(ppipe_read(r, buf, 8) == 4 && ppipe_write(w, buf, 4) == 4);
            CHECK(ppipe_read(r, buf, 8) == 0);
            _exit(0);
        }
        close(socket[1]);
        make(there, 0);
        make(back, O_DIRECT);
        CHECK(ppipe_setfl(back[1], O_NONBLOCK | O_DIRECT) == 0);
        CHECK(ppipe_send_end(there[0], socket[0], 0) == 0 && ppipe_send_end(back[1], socket[0], MSG_DONTWAIT) == 0);
        /* The handles stay. */
        CHECK(ppipe_close(there[0]) == 0 && ppipe_close(back[1]) == 0);
        CHECK(ppipe_write(there[1], "ping", 4) == 4 && ppipe_close(there[1]) == 0);
        gives(back[0], "ping");
        joined(child);
        close(socket[0]);
        CHECK(ppipe_close(back[0]) == 0);
    }
}

static void an_end_in_a_socket_is_open_until_the_socket_is_closed(void) {
    for (int i = 0; i < 3; i++) {
        ppipe *end[2];
        char buf[1];
        int socket[2];
        CHECK(socketpair(AF_UNIX, KINDS[i], 0, socket) == 0);
        make(end, O_NONBLOCK);
        CHECK(ppipe_send_end(end[1], socket[0], 0) == 0 && ppipe_close(end[1]) == 0 && close(socket[0]) == 0);
        FAILS(ppipe_read(end[0], buf, 1), EAGAIN);
        close(socket[1]);
        /* It has died, and that is asked for every now and then. */
        CHECK(ppipe_setfl(end[0], 0) == 0 && ppipe_read(end[0], buf, 1) == 0 && ppipe_close(end[0]) == 0);
    }
}

static void what_cannot_be_sent_or_is_no_end_is_an_error_and_leaves_nothing(void) {
    ppipe *end[2];
    char buf[8], name[64];
    int socket[2], size = 0, before;
    make(end, 0);
    before = descriptors();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, socket) == 0);
    CHECK(setsockopt(socket[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    FAILS(ppipe_send_end(end[1], socket[0], MSG_PEEK), EINVAL);
    FAILS(ppipe_send_end(end[1], -1, 0), EBADF);
    FAILS(ppipe_send_end(end[1], 9999, 0), EBADF);
    FAILS_NULL(ppipe_recv_end(socket[1], MSG_PEEK), EINVAL);
    FAILS_NULL(ppipe_recv_end(-1, 0), EBADF);
    FAILS_NULL(ppipe_recv_end(socket[1], MSG_DONTWAIT), EAGAIN);
    while (send(socket[0], "no end of a pipe", 16, MSG_DONTWAIT) > 0)
        ;
    FAILS(ppipe_send_end(end[1], socket[0], MSG_DONTWAIT), EAGAIN);
    FAILS_NULL(ppipe_recv_end(socket[1], 0), EBADMSG);
    CHECK(shutdown(socket[1], SHUT_RD) == 0);
    /* An error, and no signal. */
    FAILS(ppipe_send_end(end[1], socket[0], 0), EPIPE);
    close(socket[0]);
    close(socket[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, socket) == 0 && close(socket[0]) == 0);
    FAILS_NULL(ppipe_recv_end(socket[1], 0), ENODATA);
    close(socket[1]);
    int ordinary[2];
    CHECK(pipe(ordinary) == 0);
    FAILS(ppipe_send_end(end[1], ordinary[1], 0), ENOTSOCK);
    close(ordinary[0]);
    close(ordinary[1]);
    CHECK(descriptors() == before);
    snprintf(name, sizeof name, "test-%d-both", (int)getpid());
    ppipe *both = ppipe_open(name, O_RDWR | O_CREAT, 0600);
    CHECK(both != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, socket) == 0);
    FAILS(ppipe_send_end(both, socket[0], 0), EINVAL);
    /* One way it goes. */
    ppipe *one = ppipe_reopen(both, O_WRONLY);
    CHECK(one != NULL && ppipe_send_end(one, socket[0], 0) == 0 && ppipe_close(one) == 0);
    one = ppipe_recv_end(socket[1], 0);
    CHECK(one != NULL && ppipe_write(one, "x", 1) == 1 && ppipe_read(both, buf, 8) == 1 && ppipe_close(one) == 0);
    close(socket[0]);
    close(socket[1]);
    CHECK(ppipe_close(both) == 0 && ppipe_close(end[0]) == 0);
    FAILS(ppipe_write(end[1], "x", 1), EPIPE);
    CHECK(ppipe_close(end[1]) == 0);
}

/* Starts this program with a word, what was exported, and the numbers of its descriptors. */
static pid_t started(const char *word, struct ppipe_exported *exported, int with_end) {
    posix_spawn_file_actions_t actions;
    char number[3][16];
    char *arguments[] = {"passing", (char *)word, number[0], number[1], number[2], NULL};
    char *environment[] = {exported->text, NULL};
    pid_t child;
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    for (int i = 0; i < 3; i++) {
        snprintf(number[i], sizeof number[i], "%d", exported->fd[i]);
        if (with_end)
            CHECK(posix_spawn_file_actions_adddup2(&actions, exported->fd[i], exported->fd[i]) == 0);
    }
    CHECK(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment) == 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    return child;
}

static void a_spawned_program_has_the_end_and_one_that_is_spawned_besides_has_nothing_of_it(void) {
    ppipe *end[2];
    struct ppipe_exported exported;
    int before = descriptors();
    make(end, 0);
    CHECK(ppipe_export(end[1], "PASSED", &exported, O_CLOEXEC) == 0);
    pid_t other = started("has-nothing", &exported, 0), child = started("writes", &exported, 1);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_unexport(&exported) == 0);
    gives(end[0], "from the program");
    joined(child);
    joined(other);
    /* The other way round. */
    ppipe *back[2];
    make(back, 0);
    CHECK(ppipe_export(back[0], "PASSED", &exported, O_CLOEXEC) == 0);
    child = started("reads", &exported, 1);
    CHECK(ppipe_unexport(&exported) == 0 && ppipe_close(back[0]) == 0);
    CHECK(ppipe_write(back[1], "to the program", 14) == 14 && ppipe_close(back[1]) == 0);
    joined(child);
    CHECK(ppipe_close(end[0]) == 0);
    CHECK(descriptors() <= before + 2); /* Those that the library keeps. */
}

static void a_child_that_execs_hands_its_own_handle_on(void) {
    ppipe *end[2];
    make(end, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct ppipe_exported exported;
        /* Its number is free then, and what has it is taken for the standard input. */
        close(0);
        CHECK(ppipe_export(end[1], "PASSED", &exported, 0) == 0);
        CHECK(exported.fd[0] > 2 && exported.fd[1] > 2 && exported.fd[2] > 2 && putenv(exported.text) == 0);
        execl("/proc/self/exe", "passing", "writes", (char *)NULL);
        _exit(127);
    }
    CHECK(ppipe_close(end[1]) == 0);
    gives(end[0], "from the program");
    joined(child);
    CHECK(ppipe_close(end[0]) == 0);
}

static void what_is_exported_and_never_inherited_is_gone_with_its_descriptors(void) {
    ppipe *end[2];
    char buf[1], longest[600];
    struct ppipe_exported exported;
    make(end, O_NONBLOCK);
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = 0;
    int before = descriptors();
    FAILS(ppipe_export(end[1], "", &exported, 0), EINVAL);
    FAILS(ppipe_export(end[1], "A=B", &exported, 0), EINVAL);
    FAILS(ppipe_export(end[1], longest, &exported, 0), ENAMETOOLONG);
    FAILS(ppipe_export(end[1], "PASSED", &exported, O_NONBLOCK), EINVAL);
    FAILS(ppipe_export(end[1], NULL, &exported, 0), EFAULT);
    FAILS(ppipe_export(end[1], "PASSED", NULL, 0), EFAULT);
    FAILS(ppipe_unexport(NULL), EFAULT);
    FAILS_NULL(ppipe_inherit("PASSED"), ENOENT);
    FAILS_NULL(ppipe_inherit(NULL), EFAULT);
    CHECK(descriptors() == before);
    CHECK(ppipe_export(end[1], "PASSED", &exported, 0) == 0 && ppipe_close(end[1]) == 0);
    FAILS(ppipe_read(end[0], buf, 1), EAGAIN);
    CHECK(ppipe_unexport(&exported) == 0);
    CHECK(ppipe_setfl(end[0], 0) == 0 && ppipe_read(end[0], buf, 1) == 0);
    FAILS(ppipe_unexport(&exported), EBADF);
    CHECK(ppipe_close(end[0]) == 0);
}

/* With a program in Rust at the other side of the socket that is our standard input. */
static void answers(void) {
    ppipe *end[2], *w = ppipe_recv_end(0, 0);
    CHECK(w != NULL && ppipe_write(w, "from C", 6) == 6);
    make(end, O_DIRECT);
    CHECK(ppipe_send_end(end[0], 0, 0) == 0 && ppipe_write(end[1], "a packet", 8) == 8);
}

/* Starts a program in Rust that writes. */
static void spawns(char *program) {
    ppipe *end[2];
    struct ppipe_exported exported;
    posix_spawn_file_actions_t actions;
    char parent[64];
    char *arguments[] = {program, "child_process", "--exact", "--nocapture", "--test-threads=1", NULL};
    char *environment[] = {exported.text, "PPIPE_TEST_ROLE=writes", parent, NULL};
    pid_t child;
    make(end, 0);
    snprintf(parent, sizeof parent, "PPIPE_TEST_PARENT=%d", (int)getpid());
    CHECK(ppipe_export(end[1], "PASSED", &exported, O_CLOEXEC) == 0 && posix_spawn_file_actions_init(&actions) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(posix_spawn_file_actions_adddup2(&actions, exported.fd[i], exported.fd[i]) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) == 0);
    CHECK(posix_spawn(&child, program, &actions, NULL, arguments, environment) == 0);
    CHECK(ppipe_close(end[1]) == 0 && ppipe_unexport(&exported) == 0);
    gives(end[0], "from Rust");
    joined(child);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        an_end_goes_to_another_process_over_every_kind_of_socket();
        an_end_in_a_socket_is_open_until_the_socket_is_closed();
        what_cannot_be_sent_or_is_no_end_is_an_error_and_leaves_nothing();
        a_spawned_program_has_the_end_and_one_that_is_spawned_besides_has_nothing_of_it();
        a_child_that_execs_hands_its_own_handle_on();
        what_is_exported_and_never_inherited_is_gone_with_its_descriptors();
    } else if (strcmp(argv[1], "writes") == 0) {
        ppipe *w = ppipe_inherit("PASSED");
        CHECK(w != NULL && ppipe_getfl(w) == O_WRONLY);
        FAILS_NULL(ppipe_inherit("PASSED"), ENOENT);
        CHECK(ppipe_write(w, "from the program", 16) == 16);
    } else if (strcmp(argv[1], "reads") == 0) {
        ppipe *r = ppipe_inherit("PASSED");
        CHECK(r != NULL);
        gives(r, "to the program");
    } else if (strcmp(argv[1], "has-nothing") == 0) {
        for (int i = 2; i < 5; i++)
            FAILS(fcntl(atoi(argv[i]), F_GETFD), EBADF);
        FAILS_NULL(ppipe_inherit("PASSED"), ENOENT);
    } else if (strcmp(argv[1], "answers") == 0) {
        answers();
    } else {
        spawns(argv[1]);
    }
    return 0;
}
