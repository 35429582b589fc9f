/* Containers and their volumes, by texts of mountinfo. */
#include "tests/unit/unit.h"
#include "util/container.h"

#include <string.h>
#include <sys/stat.h>

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What Docker mounts by itself. */
static const char own[] =
	"593 478 0:54 / / rw,relatime master:180 - overlay overlay rw\n"
	"594 593 0:57 / /proc rw,nosuid - proc proc rw\n"
	"595 593 0:58 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k\n"
	"596 595 0:59 / /dev/pts rw - devpts devpts rw\n"
	"597 593 0:60 / /sys ro - sysfs sysfs ro\n"
	"600 593 8:1 /var/lib/docker/containers/x/resolv.conf "
	"/etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw\n"
	"601 593 8:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 "
	"/dev/sda1 rw\n"
	"602 593 8:1 /usr/share/zoneinfo/UTC /etc/localtime rw - ext4 a rw\n"
	"603 593 0:61 / /run/secrets rw - tmpfs tmpfs rw\n"
	"604 593 0:62 / /tmp rw - tmpfs tmpfs rw\n"
	"605 593 0:64 /x /dev/termination-log rw - ext4 a rw\n"
	"606 593 8:1 /etc/visitd /config ro,relatime - ext4 a rw\n";

#define ANONYMOUS                                   \
	"610 593 8:1 /var/lib/docker/volumes/" ID64 \
	"/_data /data rw shared:9 "                 \
	"master:2 - ext4 /dev/sda1 rw\n"
#define NAMED "610 593 8:1 /lib/docker/volumes/a/_data /data rw - xfs b rw\n"
#define STRAY "620 593 0:70 /srv/visits /app/visits rw - overlay c rw\n"

static enum volume look(const char *more, const char *path, char *other)
{
	char text[8192];

	snprintf(text, sizeof(text), "%s%s", own, more);
	FILE *f = fmemopen(text, strlen(text), "r");
	assert_non_null(f);
	enum volume volume = container_find_volume(f, path, other, 64);
	fclose(f);
	return volume;
}

static void test_volumes(void **state)
{
	static const struct {
		const char *mounts, *path;
		enum volume volume;
		const char *other;
	} rows[] = {
		{"", "/data/visits", VOLUME_NONE, ""},
		{ANONYMOUS, "/data/visits", VOLUME_ANONYMOUS, ""},
		{NAMED, "/data/visits", VOLUME_OWN, ""},
		{STRAY, "/data/visits", VOLUME_NONE, "/app/visits"},
		{ANONYMOUS STRAY, "/data/visits", VOLUME_ANONYMOUS,
		 "/app/visits"},
		{STRAY ANONYMOUS, "/data/visits", VOLUME_ANONYMOUS,
		 "/app/visits"},
		{NAMED STRAY, "/data/visits", VOLUME_OWN, "/app/visits"},
		{STRAY "1 2 0:3 /v /v rw - ext4 a rw\n", "/data/visits",
		 VOLUME_NONE, "/v"},
		{"1 2 0:3 /d /var/lib/docker rw - ext4 a rw\n"
		 "1 2 0:3 / /var/lib/docker/overlay2/x rw - overlay a rw\n",
		 "/data/visits", VOLUME_NONE, ""},
		/* The file itself, a folder above, a name that begins alike */
		{STRAY, "/app/visits", VOLUME_OWN, ""},
		{STRAY, "/app/visits/visits", VOLUME_OWN, ""},
		{STRAY, "/app/visits2", VOLUME_NONE, "/app/visits"},
		{STRAY, "/app/visit", VOLUME_NONE, "/app/visits"},
		/* The one that is above another */
		{ANONYMOUS NAMED, "/data/visits", VOLUME_OWN, ""},
		{NAMED ANONYMOUS, "/data/visits", VOLUME_ANONYMOUS, ""},
		/* No one's choice, or none to count on */
		{"1 2 0:3 / /mnt ro - ext4 a rw\n", "/data/visits", VOLUME_NONE,
		 ""},
		{"1 2 0:3 / /mnt rw - tmpfs a rw\n", "/data/visits",
		 VOLUME_NONE, ""},
		{"1 2 0:3 / /data rw - tmpfs a rw\n" STRAY, "/data/visits",
		 VOLUME_OWN, "/app/visits"},
		{"1 2 0:3 / /devices rw - ext4 a rw\n", "/data/visits",
		 VOLUME_NONE, "/devices"},
		{"1 2 0:3 /a\\040b /my\\040data rw - ext4 a rw\n",
		 "/my data/visits", VOLUME_OWN, ""},
		/* 63 digits, and one of them none */
		{"1 2 0:3 /v/123" ID64 "/_data /data rw - ext4 a rw\n",
		 "/data/visits", VOLUME_OWN, ""},
		{"1 2 0:3 /0x" ID64 "/_data /data rw - ext4 a rw\n",
		 "/data/visits", VOLUME_OWN, ""},
		{"1 2 0:3 /" ID64 "/_data /data rw - ext4 a rw\n",
		 "/data/visits", VOLUME_ANONYMOUS, ""},
		/* What is no line of it */
		{"garbage\n\n1 2\n1 2 3 4 5 6 7\n" STRAY, "/data/visits",
		 VOLUME_NONE, "/app/visits"},
	};
	char other[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum volume volume = look(rows[i].mounts, rows[i].path, other);

		if (volume != rows[i].volume ||
		    strcmp(other, rows[i].other) != 0)
			print_error("row %zu: %d, \"%s\"\n", i, (int)volume,
				    other);
		assert_int_equal(volume, rows[i].volume);
		assert_string_equal(other, rows[i].other);
	}
}

static void make_file(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s", folder_path(name));
	for (char *p = path; (p = strchr(p + 1, '/'));) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
	file_put_text(path, text);
}

static void test_inside(void **state)
{
	static const struct {
		const char *file, *text;
		bool is_inside;
	} rows[] = {
		{"x", "", false},
		{".dockerenv", "", true},
		{"run/.containerenv", "engine=\"podman\"\n", true},
		{"proc/self/cgroup", "12:pids:/docker/0123\n0::/\n", true},
		{"proc/self/cgroup", "0::/kubepods.slice/x\n", true},
		{"proc/self/cgroup", "0::/user.slice/user-0.slice\n", false},
		{"proc/self/cgroup", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *root = folder_make();

		make_file(rows[i].file, rows[i].text);
		assert_int_equal(container_is_inside(root), rows[i].is_inside);
		folder_remove();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_volumes),
		cmocka_unit_test(test_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
