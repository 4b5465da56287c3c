/* What the programs here check with: the first thing that does not hold ends them, and says where. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ppipe.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s does not hold, errno %d\n", __FILE__, __LINE__, #what, errno); \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* The call fails, and so. */
#define FAILS(call, code)                                                                          \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == -1);                                                                       \
        CHECK(errno == (code));                                                                    \
    } while (0)

#define FAILS_NULL(call, code)                                                                     \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == NULL);                                                                     \
        CHECK(errno == (code));                                                                    \
    } while (0)

static inline void make(ppipe *end[2], int flags) {
    CHECK(ppipe_pipe2(end, flags) == 0);
}

/* The child has done what it was to do. */
static inline void joined(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
