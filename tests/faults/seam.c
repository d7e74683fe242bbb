/* A seam between a process and its disk and clock, loaded before libc (LD_PRELOAD).

Until `seam_arm` is called it only passes calls on. Afterwards it sees every change that the process
makes below one folder, whoever makes it: Python, SQLite, native code. It counts them, kills the
process at the one that was chosen, refuses some with an error, and writes them down, as the block of
numbers in a shared file says, which the tests change while the process runs. The same block moves
the process's clock, and takes away its file locks. tests/faults/seam.py has the other side. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Kinds of calls; the same numbers are in seam.py. */
enum { OPEN, WRITE, TRUNCATE, SYNC, RENAME, LINK, SYMLINK, UNLINK, MKDIR, RMDIR, MODE, SAID, READ };

/* Moments of a death. */
enum { BEFORE, TORN, AFTER };

struct block {
    int64_t count;       /* changes so far */
    int64_t die_at;      /* the change to die at; 0: none */
    int64_t moment;
    int64_t error;       /* what calls of `kinds` fail with; 0: they do not */
    int64_t kinds;       /* bits */
    int64_t from;        /* the first change that fails */
    int64_t times;       /* how many calls still fail; -1: all */
    int64_t shift;       /* nanoseconds that the clock is ahead */
    int64_t locks;       /* flock: 0 works, an errno: is refused, -1: is granted to everybody */
};

struct record {
    int64_t kind, inode, at, mode;
    int64_t first, second; /* lengths of what follows */
};

static struct block idle;
static struct block *now = &idle;
static char root[PATH_MAX];
static size_t root_size;
static int log_fd = -1;
static int armed;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;

#define REAL(result, name, ...)                                                                    \
    static result (*real_##name)(__VA_ARGS__);                                                     \
    if (real_##name == NULL) real_##name = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

int seam_arm(const char *folder, const char *control, const char *log)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return errno;
    now = mmap(NULL, sizeof(struct block), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (now == MAP_FAILED) return errno;
    snprintf(root, sizeof root, "%s", folder);
    root_size = strlen(root);
    if (log[0]) {
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) return errno;
    }
    armed = 1;
    return 0;
}

/* Paths */

static int below(const char *path)
{
    return strncmp(path, root, root_size) == 0 && (path[root_size] == '/' || path[root_size] == 0);
}

static int path_of_fd(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return 1;
}

static int full_path(int folder, const char *given, char *path)
{
    char base[PATH_MAX];
    if (given[0] == '/') {
        snprintf(path, PATH_MAX, "%s", given);
        return below(path);
    }
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0;
    } else if (!path_of_fd(folder, base)) {
        return 0;
    }
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", base, given) >= PATH_MAX) return 0;
    return below(path);
}

static int is_ours(int fd, char *path)
{
    return armed && !inside && path_of_fd(fd, path) && below(path);
}

static int64_t inode_of(int fd)
{
    struct stat found;
    return fstat(fd, &found) == 0 ? (int64_t)found.st_ino : 0;
}

/* What happens at a change */

static void end(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) syscall(SYS_pause);
}

/* Begins a change; with a result other than 0 it fails with that errno. `*dying` says that the
process is to die once it is done, or half done. */
static int begin(int kind, int *dying)
{
    pthread_mutex_lock(&turn);
    inside = 1;
    *dying = 0;
    int64_t number = kind == READ ? now->count : __atomic_add_fetch(&now->count, 1, __ATOMIC_SEQ_CST);
    if (kind != READ && number == now->die_at) {
        if (now->moment == BEFORE) end();
        *dying = 1;
    }
    if (now->error && (now->kinds >> kind & 1) && number >= now->from && now->times != 0) {
        if (now->times > 0) now->times -= 1;
        return (int)now->error;
    }
    return 0;
}

static void finish(int dying)
{
    if (dying) end();
    inside = 0;
    pthread_mutex_unlock(&turn);
}

static int refused(int error)
{
    inside = 0;
    pthread_mutex_unlock(&turn);
    errno = error;
    return -1;
}

static void put(int kind, int64_t inode, int64_t at, int64_t mode, const void *first,
                size_t first_size, const void *second, size_t second_size)
{
    if (log_fd < 0) return;
    struct record head = {kind, inode, at, mode, (int64_t)first_size, (int64_t)second_size};
    struct iovec parts[3] = {
        {&head, sizeof head}, {(void *)first, first_size}, {(void *)second, second_size}};
    if (syscall(SYS_writev, log_fd, parts, 3) != (long)(sizeof head + first_size + second_size)) {
        static const char lost[] = "the record of the disk's changes is not whole\n";
        syscall(SYS_write, 2, lost, sizeof lost - 1);
        _exit(99);
    }
}

static void put_paths(int kind, const char *first, const char *second)
{
    put(kind, 0, 0, 0, first, strlen(first), second, strlen(second));
}

/* The kernel stamps what changes with its own clock; here it gets the one that the process sees. */
static int64_t shifted(void)
{
    struct timespec real;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
    return (int64_t)real.tv_sec * 1000000000 + real.tv_nsec + now->shift;
}

static void stamp(int fd, const char *path, int parent)
{
    char copy[PATH_MAX];
    if (now->shift == 0) return;
    int64_t moment = shifted();
    struct timespec times[2] = {{0, UTIME_OMIT}, {moment / 1000000000, moment % 1000000000}};
    if (fd >= 0) syscall(SYS_utimensat, fd, NULL, times, 0);
    if (path == NULL) return;
    snprintf(copy, sizeof copy, "%s", path);
    char *slash = strrchr(copy, '/');
    if (parent && slash != NULL) *slash = 0;
    syscall(SYS_utimensat, AT_FDCWD, copy, times, AT_SYMLINK_NOFOLLOW);
}

/* Files */

static int opening(int folder, const char *given, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (!armed || inside || !full_path(folder, given, path)
        || !(flags & (O_CREAT | O_TRUNC)) || (flags & __O_TMPFILE) == __O_TMPFILE)
        return (int)syscall(SYS_openat, folder, given, flags, mode);
    struct stat before;
    int is_new = fstatat(folder, given, &before, 0) != 0;
    if (!is_new && !(flags & O_TRUNC) && (flags & O_EXCL) == 0)
        return (int)syscall(SYS_openat, folder, given, flags, mode);
    int dying, error = begin(OPEN, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) end();
    int fd = (int)syscall(SYS_openat, folder, given, flags, mode), failed = errno;
    if (fd >= 0) {
        struct stat found;
        fstat(fd, &found);
        put(OPEN, found.st_ino, flags & O_TRUNC, found.st_mode & 07777, path, strlen(path), NULL, 0);
        stamp(fd, is_new ? path : NULL, 1);
    }
    finish(dying);
    errno = failed;
    return fd;
}

static mode_t mode_in(int flags, va_list more)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPENING(name)                                                                              \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_in(flags, more);                                                        \
        va_end(more);                                                                              \
        return opening(AT_FDCWD, path, flags, mode);                                               \
    }
#define OPENING_AT(name)                                                                           \
    int name(int folder, const char *path, int flags, ...)                                         \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = mode_in(flags, more);                                                        \
        va_end(more);                                                                              \
        return opening(folder, path, flags, mode);                                                 \
    }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
int __open_2(const char *path, int flags) { return opening(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opening(AT_FDCWD, path, flags, 0); }

static ssize_t writing(int fd, const void *data, size_t size, off_t at)
{
    char path[PATH_MAX];
    if (armed && !inside && fd == 1 && log_fd >= 0) { /* what the process tells others */
        int dying = 0;
        pthread_mutex_lock(&turn);
        inside = 1;
        ssize_t said = syscall(SYS_write, fd, data, size);
        if (said > 0) put(SAID, 0, 0, 0, data, (size_t)said, NULL, 0);
        finish(dying);
        return said;
    }
    if (!is_ours(fd, path))
        return at < 0 ? syscall(SYS_write, fd, data, size)
                      : syscall(SYS_pwrite64, fd, data, size, at);
    int dying, error = begin(WRITE, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) size /= 2;
    ssize_t done = at < 0 ? syscall(SYS_write, fd, data, size)
                          : syscall(SYS_pwrite64, fd, data, size, at);
    int failed = errno;
    if (done > 0) {
        if (at < 0) at = syscall(SYS_lseek, fd, 0, SEEK_CUR) - done;
        put(WRITE, inode_of(fd), at, 0, data, (size_t)done, NULL, 0);
        stamp(fd, NULL, 0);
    }
    finish(dying);
    errno = failed;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return writing(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return writing(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return writing(fd, data, size, at);
}

/* Calls that write without our seeing the bytes: those who make them know another way. */
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *where, size_t size, unsigned flags)
{
    char path[PATH_MAX];
    if (is_ours(to, path)) return errno = EXDEV, -1;
    return syscall(SYS_copy_file_range, from, at, to, where, size, flags);
}

static ssize_t sending(int to, int from, off64_t *at, size_t size)
{
    char path[PATH_MAX];
    int dying;
    if (is_ours(to, path)) return errno = EINVAL, -1;
    if (is_ours(from, path)) {
        int error = begin(READ, &dying);
        if (error) return refused(error);
        finish(0);
    }
    return syscall(SYS_sendfile, to, from, at, size);
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) { return sending(to, from, at, size); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) { return sending(to, from, at, size); }

static int truncating(int fd, off_t size)
{
    char path[PATH_MAX];
    if (!is_ours(fd, path)) return (int)syscall(SYS_ftruncate, fd, size);
    int dying, error = begin(TRUNCATE, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) end();
    int result = (int)syscall(SYS_ftruncate, fd, size), failed = errno;
    if (result == 0) put(TRUNCATE, inode_of(fd), size, 0, NULL, 0, NULL, 0);
    stamp(fd, NULL, 0);
    finish(dying);
    errno = failed;
    return result;
}
int ftruncate(int fd, off_t size) { return truncating(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncating(fd, size); }

static int syncing(int fd, long number)
{
    char path[PATH_MAX];
    if (!is_ours(fd, path)) return (int)syscall(number, fd);
    int dying, error = begin(SYNC, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) end();
    put(SYNC, inode_of(fd), 0, 0, path, strlen(path), NULL, 0);
    finish(dying); /* the disk itself is not asked: who cuts the power is this library */
    return 0;
}
int fsync(int fd) { return syncing(fd, SYS_fsync); }
int fdatasync(int fd) { return syncing(fd, SYS_fdatasync); }

int fchmod(int fd, mode_t mode)
{
    char path[PATH_MAX];
    if (!is_ours(fd, path)) return (int)syscall(SYS_fchmod, fd, mode);
    int dying, error = begin(MODE, &dying);
    if (error) return refused(error);
    int result = (int)syscall(SYS_fchmod, fd, mode), failed = errno;
    if (result == 0) put(MODE, inode_of(fd), 0, mode, NULL, 0, NULL, 0);
    finish(dying);
    errno = failed;
    return result;
}

/* Names */

static int naming(int kind, int folder, const char *first, int other, const char *second,
                  long (*act)(int, const char *, int, const char *, long), long more)
{
    char one[PATH_MAX], two[PATH_MAX];
    if (!armed || inside) return (int)act(folder, first, other, second, more);
    int ours = 0;
    if (kind == SYMLINK) {
        snprintf(one, sizeof one, "%s", first);
    } else {
        ours |= full_path(folder, first, one);
    }
    ours |= full_path(other, second, two);
    if (!ours) return (int)act(folder, first, other, second, more);
    int dying, error = begin(kind, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) end();
    int result = (int)act(folder, first, other, second, more), failed = errno;
    if (result == 0) {
        put_paths(kind, one, two);
        stamp(-1, two, 1);
        if (kind == RENAME) stamp(-1, one, 1);
    }
    finish(dying);
    errno = failed;
    return result;
}

static long act_rename(int a, const char *one, int b, const char *two, long more)
{
    return syscall(SYS_renameat2, a, one, b, two, more);
}
static long act_link(int a, const char *one, int b, const char *two, long more)
{
    return syscall(SYS_linkat, a, one, b, two, more);
}
static long act_symlink(int a, const char *one, int b, const char *two, long more)
{
    (void)a, (void)more;
    return syscall(SYS_symlinkat, one, b, two);
}

int rename(const char *one, const char *two)
{
    return naming(RENAME, AT_FDCWD, one, AT_FDCWD, two, act_rename, 0);
}
int renameat(int a, const char *one, int b, const char *two)
{
    return naming(RENAME, a, one, b, two, act_rename, 0);
}
int renameat2(int a, const char *one, int b, const char *two, unsigned more)
{
    return naming(RENAME, a, one, b, two, act_rename, more);
}
int link(const char *one, const char *two)
{
    return naming(LINK, AT_FDCWD, one, AT_FDCWD, two, act_link, 0);
}
int linkat(int a, const char *one, int b, const char *two, int more)
{
    return naming(LINK, a, one, b, two, act_link, more);
}
int symlink(const char *one, const char *two)
{
    return naming(SYMLINK, AT_FDCWD, one, AT_FDCWD, two, act_symlink, 0);
}
int symlinkat(const char *one, int b, const char *two)
{
    return naming(SYMLINK, AT_FDCWD, one, b, two, act_symlink, 0);
}

static int with_path(int kind, int folder, const char *given, long (*act)(int, const char *, long),
                     long more)
{
    char path[PATH_MAX];
    if (!armed || inside || !full_path(folder, given, path)) return (int)act(folder, given, more);
    int dying, error = begin(kind, &dying);
    if (error) return refused(error);
    if (dying && now->moment == TORN) end();
    int result = (int)act(folder, given, more), failed = errno;
    if (result == 0) {
        put(kind, 0, 0, more, path, strlen(path), NULL, 0);
        if (kind != MODE) stamp(-1, path, 1);
    }
    finish(dying);
    errno = failed;
    return result;
}

static long act_unlink(int folder, const char *path, long flags)
{
    return syscall(SYS_unlinkat, folder, path, flags);
}
static long act_mkdir(int folder, const char *path, long mode)
{
    return syscall(SYS_mkdirat, folder, path, mode);
}
static long act_chmod(int folder, const char *path, long mode)
{
    return syscall(SYS_fchmodat, folder, path, mode);
}

int unlink(const char *path) { return with_path(UNLINK, AT_FDCWD, path, act_unlink, 0); }
int unlinkat(int folder, const char *path, int flags)
{
    return with_path(flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, path, act_unlink, flags);
}
int rmdir(const char *path) { return with_path(RMDIR, AT_FDCWD, path, act_unlink, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { return with_path(MKDIR, AT_FDCWD, path, act_mkdir, mode); }
int mkdirat(int folder, const char *path, mode_t mode)
{
    return with_path(MKDIR, folder, path, act_mkdir, mode);
}
int chmod(const char *path, mode_t mode) { return with_path(MODE, AT_FDCWD, path, act_chmod, mode); }
int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    (void)flags;
    return with_path(MODE, folder, path, act_chmod, mode);
}

/* Reading */

static int reading(int fd)
{
    char path[PATH_MAX];
    int dying;
    if (!armed || now->error == 0 || !(now->kinds >> READ & 1) || !is_ours(fd, path)) return 0;
    int error = begin(READ, &dying);
    if (error) return refused(error);
    finish(0);
    return 0;
}

ssize_t read(int fd, void *data, size_t size)
{
    return reading(fd) ? -1 : syscall(SYS_read, fd, data, size);
}
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    return reading(fd) ? -1 : syscall(SYS_pread64, fd, data, size, at);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    return reading(fd) ? -1 : syscall(SYS_pread64, fd, data, size, at);
}
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at)
{
    REAL(ssize_t, preadv, int, const struct iovec *, int, off_t);
    return reading(fd) ? -1 : real_preadv(fd, parts, count, at);
}
ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at)
{
    REAL(ssize_t, preadv64, int, const struct iovec *, int, off64_t);
    return reading(fd) ? -1 : real_preadv64(fd, parts, count, at);
}
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    REAL(ssize_t, preadv2, int, const struct iovec *, int, off_t, int);
    return reading(fd) ? -1 : real_preadv2(fd, parts, count, at, flags);
}
ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    REAL(ssize_t, preadv64v2, int, const struct iovec *, int, off64_t, int);
    return reading(fd) ? -1 : real_preadv64v2(fd, parts, count, at, flags);
}

/* The clock and the locks */

static void move(int64_t *seconds, int64_t *rest, int64_t unit, int sign)
{
    int64_t moment = *seconds * 1000000000 + *rest * unit + sign * now->shift;
    *seconds = moment / 1000000000;
    *rest = moment % 1000000000 / unit;
}

int clock_gettime(clockid_t clock, struct timespec *found)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real_clock_gettime(clock, found);
    if (result == 0 && now->shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t seconds = found->tv_sec, rest = found->tv_nsec;
        move(&seconds, &rest, 1, 1);
        found->tv_sec = seconds;
        found->tv_nsec = rest;
    }
    return result;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone)
{
    REAL(int, gettimeofday, struct timeval *, void *);
    int result = real_gettimeofday(found, zone);
    if (result == 0 && now->shift) {
        int64_t seconds = found->tv_sec, rest = found->tv_usec;
        move(&seconds, &rest, 1000, 1);
        found->tv_sec = seconds;
        found->tv_usec = rest;
    }
    return result;
}

time_t time(time_t *found)
{
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    if (found != NULL) *found = moment.tv_sec;
    return moment.tv_sec;
}

/* A moment to wait until that was reckoned with the process's clock; the kernel waits by its own. A
condition tells by a bit of its own whether its moments are those of the clock that cannot be set
(glibc 2.25 and later). */
int pthread_cond_timedwait(pthread_cond_t *restrict met, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (real == NULL) { /* the name has an older meaning too, which is found first */
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (found == NULL) found = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))found;
    }
    if (now->shift == 0 || (met->__data.__wrefs & 2)) return real(met, lock, until);
    int64_t seconds = until->tv_sec, rest = until->tv_nsec;
    move(&seconds, &rest, 1, -1);
    struct timespec kernels = {seconds, rest};
    return real(met, lock, &kernels);
}

int flock(int fd, int operation)
{
    if (now->locks > 0) return errno = (int)now->locks, -1;
    if (now->locks < 0) return 0;
    return (int)syscall(SYS_flock, fd, operation);
}
