/*
 * container.h - whether this process runs in a container, and on which volume
 */
#ifndef UTIL_CONTAINER_H
#define UTIL_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Whether the system below the folder `root` ("" is this one) is a container's,
 * by what Docker, Podman and Kubernetes leave there. */
bool container_is_inside(const char *root);

/* What a file is on. */
enum volume {
	VOLUME_NONE,	  /* it goes with the container */
	VOLUME_ANONYMOUS, /* the next container gets another one */
	VOLUME_OWN,	  /* somebody has chosen it */
};

/*
 * Reads /proc/self/mountinfo (proc_pid_mountinfo(5)): what the file at the
 * absolute path `path` is on. `other`, of `cap` bytes, becomes the mount point
 * of the last other volume that somebody has chosen to write to, or "": those
 * of the container itself and of the system are left out.
 */
enum volume container_find_volume(FILE *mountinfo, const char *path,
				  char *other, size_t cap);

/* Warns when the file at `path`, which may be missing in its folder, will not
 * outlive the container while another volume would. */
void container_check_volume(const char *path);

#endif
