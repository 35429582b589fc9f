/* Resource limits, CPUs, and dropping privileges. */
#include "run/run.h"

#include "util/log.h"
#include "util/number.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OTHER_FILES = 32 /* descriptors that are no connections */ };

/* CPUs of the cgroup's quota, rounded up: cgroup v2's "max 100000" or
 * "150000 100000"; 0 where there is none. In a container this is the root of
 * what is mounted. */
static int limits_quota_cpus(void)
{
	char text[64] = "";
	long long quota, period;
	FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");

	if (!f)
		return 0;
	char *line = fgets(text, sizeof(text), f);
	fclose(f);
	if (!line || sscanf(text, "%lld %lld", &quota, &period) != 2 ||
	    quota <= 0 || period <= 0)
		return 0;
	return (int)((quota + period - 1) / period);
}

int run_workers(const struct settings *settings)
{
	cpu_set_t cpus;
	int n = 1, quota = limits_quota_cpus();

	if (settings->workers)
		return settings->workers;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = CPU_COUNT(&cpus);
	if (quota && quota < n)
		n = quota;
	return n > 0 ? n : 1;
}

void run_raise_limits(struct settings *settings)
{
	rlim_t need = (rlim_t)settings->max_connections + OTHER_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
		return;
	rlim_t old = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		limit.rlim_cur = old;
	if (limit.rlim_cur >= need)
		return;
	int room = limit.rlim_cur > 2 * OTHER_FILES
			   ? (int)limit.rlim_cur - OTHER_FILES
			   : OTHER_FILES;
	log_warn("MAX_CONNECTIONS=%d needs %llu descriptors, and the limit is "
		 "%llu (ulimit -n): going on with %d connections a worker",
		 settings->max_connections, (unsigned long long)need,
		 (unsigned long long)limit.rlim_cur, room);
	settings->max_connections = room;
}

/* capset(2). Written out, since musl comes without the kernel's headers. */
static int limits_drop_capabilities(void)
{
	const struct {
		uint32_t version;
		int pid;
	} header = {0x20080522, 0}; /* _LINUX_CAPABILITY_VERSION_3 */
	const struct {
		uint32_t effective, permitted, inheritable;
	} none[2] = {{0, 0, 0}, {0, 0, 0}};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	return (int)syscall(SYS_capset, &header, &none);
}

static int limits_become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0) {
		log_error("cannot become uid %d:", (int)uid);
		return -1;
	}
	return 0;
}

/* The owner of DATA_DIR; root if there is no such folder. */
static struct {
	bool is_known;
	uid_t uid;
	gid_t gid;
} owner;

void run_remember_owner(const struct settings *settings)
{
	struct stat st;

	owner.is_known = stat(settings->data_dir, &st) == 0;
	owner.uid = owner.is_known ? st.st_uid : 0;
	owner.gid = owner.is_known ? st.st_gid : 0;
}

int run_drop_privileges(const struct settings *settings, bool warn)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (geteuid() != 0)
		return 0;
	if (!owner.is_known)
		run_remember_owner(settings);
	if (owner.uid != 0)
		return limits_become(owner.uid, owner.gid);
	if (warn)
		log_warn("running as root, without its capabilities: %s "
			 "belongs to root (chown it to another user, and the "
			 "workers run as that)",
			 settings->data_dir);
	if (limits_drop_capabilities() < 0) {
		log_error("cannot drop capabilities:");
		return -1;
	}
	return 0;
}
