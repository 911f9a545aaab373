/* Faults of a disk for one process, without root: preloaded (LD_PRELOAD) into a test's child.
 *
 * FAULTY_DISK_NO_LOCKS=1        flock fails with ENOLCK, as on a file system without locks
 * FAULTY_DISK_HANG=PATH         while the file PATH exists, fdatasync and fsync do not return
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_while_hung(void)
{
    const char *path = getenv("FAULTY_DISK_HANG");
    while (path && access(path, F_OK) == 0)
        usleep(5000);
}

int fdatasync(int file)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_while_hung();
    return real(file);
}

int fsync(int file)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_while_hung();
    return real(file);
}

int flock(int file, int operation)
{
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    if (getenv("FAULTY_DISK_NO_LOCKS")) {
        errno = ENOLCK;
        return -1;
    }
    return real(file, operation);
}
