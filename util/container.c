#include "util/container.h"

#include "util/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line of mountinfo. */
struct mount {
	char *root;  /* of the mount, within its file system */
	char *point; /* where it is mounted */
	bool is_writable;
	bool is_memory;
};

/* cgroup v1 names the container, v2 seldom does. */
static bool container_has_cgroup(const char *root)
{
	static const char *const marks[] = {"docker", "kubepods", "libpod",
					    "containerd", "/lxc/"};
	char path[PATH_MAX], line[PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
			found |= strstr(line, marks[i]) != NULL;
	if (f)
		fclose(f);
	return found;
}

bool container_is_inside(const char *root)
{
	static const char *const files[] = {"/.dockerenv",
					    "/run/.containerenv"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s%s", root, files[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return container_has_cgroup(root);
}

/* In place: a space is written as \040. */
static void container_unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++, to++) {
		*to = *p;
		if (*p == '\\' && strspn(p + 1, "01234567") >= 3) {
			*to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 +
				     (p[3] - '0'));
			p += 3;
		}
	}
	*to = '\0';
}

/* 36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda rw */
static bool container_parse(char *line, struct mount *mount)
{
	char *rest = line, *fields[6];

	for (int i = 0; i < 6; i++)
		if (!(fields[i] = strsep(&rest, " ")))
			return false;
	const char *type = rest ? strstr(rest, "- ") : NULL;
	if (!type)
		return false;
	*mount = (struct mount){
		.root = fields[3],
		.point = fields[4],
		.is_writable = strncmp(fields[5], "rw", 2) == 0,
		.is_memory = strncmp(type + 2, "tmpfs ", 6) == 0,
	};
	container_unescape(mount->root);
	container_unescape(mount->point);
	return true;
}

static bool container_holds(const char *folder, const char *path)
{
	size_t n = strlen(folder);

	if (n == 1) /* "/" */
		return true;
	return strncmp(path, folder, n) == 0 &&
	       (path[n] == '/' || path[n] == '\0');
}

/* .../volumes/<64 hexadecimal digits>/_data: Docker's and Podman's */
static bool container_is_anonymous(const char *root)
{
	static const char end[] = "/_data";
	size_t n = strlen(root), tail = sizeof(end) - 1;

	return n > 64 + tail && strcmp(root + n - tail, end) == 0 &&
	       root[n - tail - 65] == '/' &&
	       strspn(root + n - tail - 64, "0123456789abcdef") == 64;
}

static enum volume container_kind(const struct mount *mount)
{
	if (strcmp(mount->point, "/") == 0)
		return VOLUME_NONE;
	return container_is_anonymous(mount->root) ? VOLUME_ANONYMOUS
						   : VOLUME_OWN;
}

/* Whether a visitor's count may be meant to be there. */
static bool container_may_be_meant(const struct mount *mount)
{
	/* The last are an engine's own, in a container that runs one. */
	static const char *const systems[] = {"/proc",
					      "/sys",
					      "/dev",
					      "/run",
					      "/etc",
					      "/usr",
					      "/var/run",
					      "/var/lib/docker",
					      "/var/lib/containerd",
					      "/var/lib/containers",
					      "/var/lib/kubelet"};

	for (size_t i = 0; i < sizeof(systems) / sizeof(*systems); i++)
		if (container_holds(systems[i], mount->point))
			return false;
	return mount->is_writable && !mount->is_memory &&
	       container_kind(mount) == VOLUME_OWN;
}

enum volume container_find_volume(FILE *mountinfo, const char *path,
				  char *other, size_t cap)
{
	enum volume found = VOLUME_NONE;
	char *line = NULL;
	size_t size = 0, longest = 0;
	struct mount mount;

	*other = '\0';
	while (getline(&line, &size, mountinfo) > 0) {
		if (!container_parse(line, &mount))
			continue;
		size_t n = strlen(mount.point);
		if (!container_holds(mount.point, path)) {
			if (container_may_be_meant(&mount))
				snprintf(other, cap, "%s", mount.point);
		} else if (n >= longest) { /* the later one is above */
			longest = n;
			found = container_kind(&mount);
		}
	}
	free(line);
	return found;
}

void container_check_volume(const char *path)
{
	char folder[PATH_MAX], real[PATH_MAX], other[PATH_MAX];
	const char *slash = strrchr(path, '/');
	FILE *f = NULL;

	snprintf(folder, sizeof(folder), "%.*s",
		 slash ? (int)(slash - path) : 1, slash ? path : ".");
	if (container_is_inside("") && realpath(*folder ? folder : "/", real))
		f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return;
	size_t n = strlen(real);
	snprintf(real + n, sizeof(real) - n, "/%s", slash ? slash + 1 : path);
	enum volume volume =
		container_find_volume(f, real, other, sizeof(other));
	fclose(f);
	if (volume != VOLUME_OWN && *other)
		log_warn("%s is on %s, and %s is mounted: if the count should "
			 "be there, mount that at %s, or set DATA_DIR (for a "
			 "file, VISITS_FILE) to %s",
			 path,
			 volume == VOLUME_NONE
				 ? "no volume and goes with the container"
				 : "a volume without a name, and the next "
				   "container gets another one",
			 other, folder, other);
}
