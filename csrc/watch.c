// SPDX-License-Identifier: Apache-2.0
/* Attributes that are read over and over, through descriptors that are kept: no path is walked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "qatdp.h"

static int open_watched(struct qatdp_watched *watched, const char *path)
{
	struct stat status;
	int descriptor = open_regular(AT_FDCWD, path, O_RDONLY, &status);

	if (descriptor < 0)
		return descriptor;
	watched->is_open = 1;
	watched->descriptor = descriptor;
	watched->device = status.st_dev;
	watched->inode = status.st_ino;
	return 0;
}

/*
 * Whether the descriptor leads to the file that was opened, and that is still there. One that leads
 * to another file is somebody else's now and is not touched. A file of sysfs has an inode number
 * that no later one gets (its upper half counts, fs/kernfs/dir.c); a removed one keeps its link
 * count and tells by ENODEV.
 */
static int is_same(struct qatdp_watched *watched)
{
	struct stat status;

	if (fstat(watched->descriptor, &status) < 0 || watched->device != status.st_dev ||
	    watched->inode != status.st_ino) {
		watched->is_open = 0;
		return 0;
	}
	return status.st_nlink > 0;
}

static void close_watched(struct qatdp_watched *watched)
{
	if (watched->is_open)
		close(watched->descriptor);
	watched->is_open = 0;
}

static int read_open(struct qatdp_watched *watched, const char *path, char *content, size_t size)
{
	int length;

	if (watched->is_open && is_same(watched)) {
		length = read_attribute(watched->descriptor, content, size);
		if (length != -ENODEV)
			return length;
	}
	/* It is gone, but another file may be in its place. */
	close_watched(watched);
	length = open_watched(watched, path);
	return length < 0 ? length : read_attribute(watched->descriptor, content, size);
}

static int read_watched(struct qatdp_watched *watched, const char *path, int32_t keep_below,
			char *content, size_t size)
{
	int length = read_open(watched, path, content, size);

	/* The lowest number that is free was given, so those above are left to others. */
	if (watched->is_open && watched->descriptor >= keep_below)
		close_watched(watched);
	return length;
}

int qatdp_watch(struct qatdp_watched *watched, uint32_t count, const char *paths,
		int32_t keep_below, char *text, size_t size)
{
	uint32_t used = 0;
	const char *path;
	int length;

	for (uint32_t i = 0; i < count; i++) {
		if (size - used < QATDP_READ_BYTES)
			return -ENOBUFS;
		path = paths + watched[i].path;
		if (watched[i].kind == QATDP_READ)
			length = read_watched(&watched[i], path, keep_below, text + used,
					      size - used);
		else
			length = qatdp_exists(AT_FDCWD, path);
		watched[i].status = length < 0 ? length : 0;
		watched[i].data = used;
		watched[i].length = length < 0 ? 0 : (uint32_t)length;
		used += watched[i].length;
	}
	return (int)used;
}

void qatdp_unwatch(struct qatdp_watched *watched, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close_watched(&watched[i]);
}
