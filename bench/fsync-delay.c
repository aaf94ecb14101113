/* Preloaded: delays every fsync and fdatasync by HOLDFAST_FSYNC_DELAY_MS and counts them in the file (8 bytes, mapped)
 * that HOLDFAST_FSYNC_COUNT names, so that a benchmark can tell that the delay really happened. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static long delay_ms;
static _Atomic unsigned long *count;

__attribute__((constructor)) static void setup(void) {
  const char *delay = getenv("HOLDFAST_FSYNC_DELAY_MS");
  const char *path = getenv("HOLDFAST_FSYNC_COUNT");
  delay_ms = delay ? atol(delay) : 0;
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) count = page;
}

static int slowly(const char *name, int fd) {
  struct timespec rest = {delay_ms / 1000, (delay_ms % 1000) * 1000000L};
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  nanosleep(&rest, NULL);
  if (count) atomic_fetch_add(count, 1);
  return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
