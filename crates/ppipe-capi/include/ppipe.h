/*
 * ppipe: a pipe in user space. Streams and packets between processes of one machine, through shared memory.
 *
 * Generated from crates/ppipe-capi/src; see ppipe(3) and ppipe(7). Link with -lppipe.
 *
 * A handle is one end of a pipe. It is no pointer to anything: a null handle, one that was closed, or any other number is found out,
 * and the call fails with EBADF; so it is with loans. All functions may be called by several threads at once, also with one and the
 * same handle. After a fork (not _Fork, vfork, posix_spawn, clone) the child has all handles of its parent, as it has descriptors, and
 * none of its loans; none lives through exec, but see ppipe_export. exit(3) closes all. No function is safe in a signal handler, and none
 * is a cancellation point. Calls return -1 and set errno where they fail. A broken pipe is EPIPE and no signal, unless PPIPE_SIGPIPE has
 * been set.
 *
 * O_DIRECT and SPLICE_F_NONBLOCK are in <fcntl.h>, with _GNU_SOURCE; MSG_PEEK and MSG_DONTWAIT are in <sys/socket.h>.
 */

#ifndef PPIPE_H
#define PPIPE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <poll.h>

/*
 With ppipe_setfl: a call that finds the pipe broken sends SIGPIPE besides.
 */
#define PPIPE_SIGPIPE 1073741824

/*
 With ppipe_recv: what does not fit stays in the pipe, a packet of its own.
 */
#define PPIPE_KEEP 268435456

/*
 With ppipe_recv: a packet that does not fit stays in the pipe, and the call fails with EMSGSIZE.
 */
#define PPIPE_EXACT 536870912

/*
 One end of a pipe, or both: a handle.
 */
typedef struct ppipe ppipe;

/*
 Memory of a pipe that is lent: to be filled and committed, or to be looked at and returned.
 */
typedef struct ppipe_loan ppipe_loan;

/*
 What was received.
 */
typedef struct ppipe_info {
  /*
   Bytes that the packet had.
   */
  size_t length;
  /*
   Not 0: more than fitted.
   */
  int truncated;
  /*
   The process that sent it; 0 where it has not left the pipe.
   */
  pid_t sender;
} ppipe_info;

/*
 An end on its way to a program that is about to be started.
 */
typedef struct ppipe_exported {
  /*
   What its environment is to have: VARIABLE=...
   */
  char text[512];
  /*
   The descriptors that it is to have, with these very numbers.
   */
  int fd[3];
} ppipe_exported;

/*
 What to wait for with one handle, and what was found. A null handle is passed over.
 */
typedef struct ppipe_pollfd {
  /*
   The handle.
   */
  struct ppipe *pipe;
  /*
   POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM.
   */
  short events;
  /*
   Those of them that are so, and POLLHUP, POLLERR, POLLNVAL.
   */
  short revents;
} ppipe_pollfd;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Sends each of up to 1024 packets as one packet, in this order; waits for room for all of them. Returns how many it has sent, which are
 fewer only if an error ended it early: -1 if it has sent none. Flags: MSG_DONTWAIT. As sendmmsg(2).
 */
int ppipe_send_batch(struct ppipe *p,
                     const struct iovec *packet,
                     int count,
                     int flags);

/*
 Receives up to 1024 packets, each into a buffer of its own; waits for the first one and takes of the others what is there. Returns how many; 0 at
 the end of file. info, if not null, has as many places and tells each packet's length. Flags: MSG_DONTWAIT, PPIPE_KEEP, PPIPE_EXACT. As
 recvmmsg(2) with MSG_WAITFORONE.
 */
int ppipe_recv_batch(struct ppipe *p,
                     const struct iovec *buffer,
                     struct ppipe_info *info,
                     int count,
                     int flags);

/*
 Reads up to n bytes. 0 at the end of file. As read(2).
 */
ssize_t ppipe_read(struct ppipe *p, void *buf, size_t n);

/*
 Writes n bytes. As write(2).
 */
ssize_t ppipe_write(struct ppipe *p, const void *buf, size_t n);

/*
 Reads into up to 1024 buffers. As readv(2).
 */
ssize_t ppipe_readv(struct ppipe *p, const struct iovec *iov, int iovcnt);

/*
 Writes up to 1024 buffers. As writev(2).
 */
ssize_t ppipe_writev(struct ppipe *p, const struct iovec *iov, int iovcnt);

/*
 As ppipe_read, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
 */
ssize_t ppipe_read_timeout(struct ppipe *p,
                           void *buf,
                           size_t n,
                           int milliseconds);

/*
 As ppipe_write, but waits no longer than that, also if nonblocking; then ETIMEDOUT if nothing was written. A negative number is no limit.
 */
ssize_t ppipe_write_timeout(struct ppipe *p,
                            const void *buf,
                            size_t n,
                            int milliseconds);

/*
 A descriptor for poll, select and epoll: it shows what the handle is ready for, as that of a pipe does. Good for nothing else: do not read, write or
 close it. Duplicates of the handle have the same one; it is closed with the last of them. A forked child has its own, by the same number.
 */
int ppipe_fd(struct ppipe *p);

/*
 Makes a pipe; the first end reads, the second one writes. Flags: O_NONBLOCK, O_CLOEXEC, O_DIRECT. As pipe2(2).
 */
int ppipe_pipe2(struct ppipe *end[2],
                int flags);

/*
 Opens the pipe of this name, as open(2) a FIFO: O_RDONLY and O_WRONLY wait for the other side, unless O_NONBLOCK; O_RDWR does not. With O_CREAT it
 is made if there is none, with O_EXCL besides it must not be there. Flags that mean nothing to a FIFO, as O_TRUNC, mean nothing here. Only its
 user can open it, whatever the mode says. The name is gone with its last handle, be it closed by exit(3). Null and errno if that fails.
 */
struct ppipe *ppipe_open(const char *name,
                         int oflags,
                         mode_t mode);

/*
 Takes the name away from its pipe. Handles go on; who opens the name from now on gets another pipe. As unlink(2).
 */
int ppipe_unlink(const char *name);

/*
 Another handle of the same description: its flags are the same, for ever. As dup(2).
 */
struct ppipe *ppipe_dup(struct ppipe *p);

/*
 Another handle of the same pipe with a description, and flags, of its own: as ppipe_open, O_RDONLY, O_WRONLY or O_RDWR, and O_NONBLOCK. If
 the pipe has a name it waits as ppipe_open does, else never. As opening /proc/self/fd/N.
 */
struct ppipe *ppipe_reopen(struct ppipe *p,
                           int oflags);

/*
 Closes the handle. Whoever is in the midst of a call with it in another thread goes on to the end of that call. As close(2).
 */
int ppipe_close(struct ppipe *p);

/*
 The flags: how it was opened, O_NONBLOCK, O_DIRECT, PPIPE_SIGPIPE, and those that are only kept. As fcntl(F_GETFL).
 */
int ppipe_getfl(struct ppipe *p);

/*
 Sets O_NONBLOCK, O_DIRECT (writes make packets) and PPIPE_SIGPIPE as flags says; keeps O_APPEND, O_ASYNC and O_NOATIME, which have no effect; others are
 ignored. As fcntl(F_SETFL).
 */
int ppipe_setfl(struct ppipe *p,
                int flags);

/*
 Lends room for a packet of n bytes, to be filled and committed, or abandoned. *bytes is where it is; what it holds is not defined. Waits only for a
 packet above 4096 bytes, if too many of them are under way. Flags: MSG_DONTWAIT. If it fails both pointers are null.
 */
int ppipe_reserve(struct ppipe *p,
                  size_t n,
                  struct ppipe_loan **loan,
                  void **bytes,
                  int flags);

/*
 Sends the first n of the bytes that were lent as one packet; waits for room. The loan is over then. If it fails the loan is still there, at most n bytes
 long: commit it again, or abandon it. With n 0 nothing is sent. Flags: MSG_DONTWAIT.
 */
int ppipe_commit(struct ppipe_loan *loan,
                 size_t n,
                 int flags);

/*
 Gives room back without sending anything.
 */
int ppipe_abandon(struct ppipe_loan *loan);

/*
 Receives the next packet, or up to 4096 bytes of a stream, where it lies, to be looked at and returned. *bytes is where that is. Returns how many
 there are; 0 at the end of file. Flags: MSG_DONTWAIT. Where it lends nothing both pointers are null. Others who have the pipe can change what is
 lent, by mistake or worse: copy what you check, then check the copy.
 */
ssize_t ppipe_recv_loan(struct ppipe *p,
                        struct ppipe_loan **loan,
                        const void **bytes,
                        struct ppipe_info *info,
                        int flags);

/*
 Gives back what was received. The bytes must not be looked at any more.
 */
int ppipe_return(struct ppipe_loan *loan);

/*
 Sends n bytes as one packet. Flags: MSG_DONTWAIT. EMSGSIZE if it is larger than the pipe.
 */
ssize_t ppipe_send(struct ppipe *p, const void *buf, size_t n, int flags);

/*
 Sends what is in up to 1024 buffers as one packet. Flags: MSG_DONTWAIT. Returns its length. As sendmsg(2).
 */
ssize_t ppipe_sendv(struct ppipe *p,
                    const struct iovec *iov,
                    int iovcnt,
                    int flags);

/*
 Receives the next packet into up to 1024 buffers; what does not fit is dropped. Flags: MSG_DONTWAIT. info as with ppipe_recv. As recvmsg(2).
 */
ssize_t ppipe_recvv(struct ppipe *p,
                    const struct iovec *iov,
                    int iovcnt,
                    struct ppipe_info *info,
                    int flags);

/*
 As ppipe_send, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
 */
ssize_t ppipe_send_timeout(struct ppipe *p,
                           const void *buf,
                           size_t n,
                           int milliseconds);

/*
 Receives the next packet; what does not fit is dropped, or what PPIPE_KEEP or PPIPE_EXACT says. Flags besides: MSG_PEEK, which takes nothing,
 MSG_DONTWAIT. 0 at the end of file. info, if not null, tells the packet's length.
 */
ssize_t ppipe_recv(struct ppipe *p,
                   void *buf,
                   size_t n,
                   struct ppipe_info *info,
                   int flags);

/*
 As ppipe_recv without flags, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
 */
ssize_t ppipe_recv_timeout(struct ppipe *p,
                           void *buf,
                           size_t n,
                           struct ppipe_info *info,
                           int milliseconds);

/*
 Sends a duplicate of the handle over a Unix socket of any kind, as sendmsg(2) with SCM_RIGHTS sends one of a descriptor. Flags: MSG_DONTWAIT. EINVAL if
 it is open both ways, or the socket is no Unix socket.
 */
int ppipe_send_end(struct ppipe *p,
                   int socket,
                   int flags);

/*
 Receives an end, of whichever side, that ppipe_send_end or its relatives in Rust have sent. Flags: MSG_DONTWAIT. Null and errno if that fails: ENODATA
 if none will come, EBADMSG if what came is something else, ENOENT if somebody else has it already.
 */
struct ppipe *ppipe_recv_end(int socket,
                             int flags);

/*
 Prepares a duplicate of the handle for a program that is about to be started, which gets it with ppipe_inherit: its environment has to have text, and
 it has to inherit the three descriptors. They are closed by exec if flags is O_CLOEXEC, and not if it is 0. EINVAL if the handle is open both
 ways.
 */
int ppipe_export(struct ppipe *p,
                 const char *variable,
                 struct ppipe_exported *exported,
                 int flags);

/*
 Closes the descriptors of what was exported, which have to be as they were. To be called when the program has been started, or will not be: until
 then, and until it closes its own, the end counts as open.
 */
int ppipe_unexport(struct ppipe_exported *exported);

/*
 In a program that was started: the end of whichever side that ppipe_export, or hand_to in Rust, has put into this environment variable. Can be done once.
 Null and errno if that fails: ENOENT if there is none, or it has been done already.
 */
struct ppipe *ppipe_inherit(const char *variable);

/*
 Waits until one of the handles is ready, for so long at most; a negative number is no limit. Returns how many are. As poll(2).
 */
int ppipe_poll(struct ppipe_pollfd *fds,
               nfds_t nfds,
               int timeout_ms);

/*
 Leaves the process without the handler of SIGBUS that the first pipe brings: one whose memory is taken away ends it then. Before there is a pipe.
 */
int ppipe_leave_sigbus(void);

/*
 Bytes that the pipe holds. As fcntl(F_GETPIPE_SZ).
 */
int ppipe_getsize(struct ppipe *p);

/*
 Makes it hold so many, rounded up; returns how many that are. As fcntl(F_SETPIPE_SZ).
 */
int ppipe_setsize(struct ppipe *p, unsigned int bytes);

/*
 How many bytes are in it. As ioctl(FIONREAD).
 */
int ppipe_nread(struct ppipe *p, int *bytes);

/*
 Copies up to len bytes from one pipe to another one, and leaves them where they are. Flags, here and below: SPLICE_F_NONBLOCK; SPLICE_F_MOVE, SPLICE_F_MORE
 and SPLICE_F_GIFT are without effect. As tee(2).
 */
ssize_t ppipe_tee(struct ppipe *in,
                  struct ppipe *out,
                  size_t len,
                  unsigned int flags);

/*
 Moves up to len bytes from one pipe to another one. As splice(2).
 */
ssize_t ppipe_splice(struct ppipe *in, struct ppipe *out, size_t len, unsigned int flags);

/*
 Moves up to len bytes from a pipe to a descriptor. As splice(2).
 */
ssize_t ppipe_splice_to_fd(struct ppipe *in, int fd, size_t len, unsigned int flags);

/*
 Moves up to len bytes from a descriptor to a pipe. As splice(2).
 */
ssize_t ppipe_splice_from_fd(int fd, struct ppipe *out, size_t len, unsigned int flags);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PPIPE_H */
