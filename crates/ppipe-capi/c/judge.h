/* The same calls on a pipe of the kernel and on one of ours: what they give is noted, and has to be the same. */
#ifndef JUDGE_H
#define JUDGE_H

#include <sys/ioctl.h>
#include <sys/stat.h>

#include "check.h"

struct judged {
    int is_ours;
    int fd[2];
    ppipe *end[2];
};

enum { MOST_NOTES = 2000 };

/* What one of the two has given: counts, or errors as negative numbers. */
struct notes {
    int count;
    struct {
        long value;
        int line;
    } note[MOST_NOTES];
};
static struct notes noted[2];

static inline long note(int is_ours, long value, int line) {
    struct notes *notes = &noted[is_ours];
    CHECK(notes->count < MOST_NOTES);
    notes->note[notes->count].value = value == -1 ? -errno : value;
    notes->note[notes->count++].line = line;
    return value;
}

/* So that the compiler does not warn of what is wrong by intention. */
static ssize_t (*volatile kernel_read)(int, void *, size_t) = read;
static ssize_t (*volatile kernel_write)(int, const void *, size_t) = write;

/* A call: the first form for a descriptor, the second one for a handle. */
#define ON(pipe, of_kernel, of_ours) note((pipe)->is_ours, (pipe)->is_ours ? (long)(of_ours) : (long)(of_kernel), __LINE__)
#define NOTE(pipe, value) note((pipe)->is_ours, value, __LINE__)
#define READ(pipe, at, buf, n) ON(pipe, kernel_read((pipe)->fd[at], buf, n), ppipe_read((pipe)->end[at], buf, n))
#define WRITE(pipe, at, buf, n) ON(pipe, kernel_write((pipe)->fd[at], buf, n), ppipe_write((pipe)->end[at], buf, n))
#define READV(pipe, at, iov, n) ON(pipe, readv((pipe)->fd[at], iov, n), ppipe_readv((pipe)->end[at], iov, n))
#define WRITEV(pipe, at, iov, n) ON(pipe, writev((pipe)->fd[at], iov, n), ppipe_writev((pipe)->end[at], iov, n))
#define SHUT(pipe, at) ON(pipe, close((pipe)->fd[at]), ppipe_close((pipe)->end[at]))
#define SETSIZE(pipe, at, n) ON(pipe, fcntl((pipe)->fd[at], F_SETPIPE_SZ, n), ppipe_setsize((pipe)->end[at], n))
#define SETFL(pipe, at, flags) ON(pipe, fcntl((pipe)->fd[at], F_SETFL, flags), ppipe_setfl((pipe)->end[at], flags))
/* The kernel says O_LARGEFILE besides, where that is not 0. */
#define GETFL(pipe, at) \
    ON(pipe, fcntl((pipe)->fd[at], F_GETFL) & ~0x8000, ppipe_getfl((pipe)->end[at]) & ~PPIPE_SIGPIPE)
#define UNREAD(pipe, at) NOTE(pipe, unread(pipe, at))

static inline int unread(struct judged *pipe, int at) {
    int n = -1;
    CHECK((pipe->is_ours ? ppipe_nread(pipe->end[at], &n) : ioctl(pipe->fd[at], FIONREAD, &n)) == 0);
    return n;
}

/* Ours with the signal of a broken pipe, which the kernel sends unasked. */
static inline void make_judged(struct judged *pipe, int is_ours, int flags) {
    pipe->is_ours = is_ours;
    if (!is_ours) {
        CHECK(pipe2(pipe->fd, flags) == 0);
        return;
    }
    make(pipe->end, flags);
    CHECK(ppipe_setfl(pipe->end[1], flags | PPIPE_SIGPIPE) == 0);
}

/* A script closes what it opens. */
static inline void same(void (*script)(int is_ours)) {
    memset(noted, 0, sizeof noted);
    for (int is_ours = 0; is_ours < 2; is_ours++)
        script(is_ours);
    CHECK(noted[0].count > 0 && noted[0].count == noted[1].count);
    for (int i = 0; i < noted[0].count; i++)
        if (noted[0].note[i].value != noted[1].note[i].value || noted[0].note[i].line != noted[1].note[i].line) {
            fprintf(stderr, "line %d: %ld of the kernel, %ld of ours\n", noted[0].note[i].line, noted[0].note[i].value,
                    noted[1].note[i].value);
            _exit(1);
        }
}

#endif
