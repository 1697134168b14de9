#!/bin/sh
# check_bionic.sh FILE...: of the C functions that these objects or libraries call, none may be missing in Android's
# C library at API level 24. The list is of what bionic got later, or never (its docs/status.md); it has no
# glibc names that stand for plain ones. A stand-in for a build with the NDK (docs/PLATFORMS.md).
later='aligned_alloc backtrace backtrace_symbols call_once canonicalize_file_name catclose catgets catopen close_range
  cnd_broadcast cnd_init cnd_signal cnd_wait copy_file_range ctermid endgrent endpwent epoll_pwait2 error
  explicit_bzero fexecve fgetc_unlocked fopencookie fputc_unlocked futimes getcontext get_current_dir_name
  getdomainname getentropy getgrent getloadavg getlogin_r getpwent getrandom getsubopt glob globfree hasmntopt
  iconv iconv_close iconv_open lchmod lutimes makecontext mallinfo mallinfo2 mblen memfd_create mlock2 mtx_init mtx_lock
  mtx_unlock nl_langinfo nl_langinfo_l pidfd_open posix_spawn posix_spawnp preadv2 process_madvise pthread_attr_setaffinity_np
  pthread_attr_setinheritsched pthread_cancel pthread_cond_clockwait pthread_getaffinity_np
  pthread_getname_np pthread_mutex_clocklock pthread_rwlock_clockrdlock pthread_rwlock_clockwrlock
  pthread_setaffinity_np pthread_setcancelstate pthread_setschedprio pthread_testcancel pthread_yield pwritev2
  qsort_r quick_exit_np reallocarray renameat2 secure_getenv sem_clockwait semctl semget semop setcontext shmat
  shm_open shm_unlink statx strptime_l strtod_l strtof_l strtol_l strtoul_l strverscmp swab swapcontext syncfs
  sync_file_range thrd_create thrd_join timespec_get towctrans towctrans_l tss_create versionsort wcsftime_l wctrans'
for file in "$@"; do
  [ -e "$file" ] || { echo "$file: missing"; exit 1; }
done
called=$(for file in "$@"; do "${NM:-nm}" -u "$file" 2>/dev/null; done | sed -n 's/^ *U \([a-z0-9_]*\).*/\1/p' | sort -u)
[ -n "$called" ] || { echo "nothing is called"; exit 1; }
bad=
for name in $later; do
  echo "$called" | grep -qxE "${name}(64)?" && bad="$bad $name"
done
[ -z "$bad" ] || { echo "not in Android's C library at API level 24:$bad"; exit 1; }
echo "bionic: none of $(echo "$called" | wc -l) C functions came after API level 24"
