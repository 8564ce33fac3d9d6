// SPDX-License-Identifier: Apache-2.0
/* One question about one path: none waits for what is no regular file, none keeps a descriptor. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "qatdp.h"

_Static_assert(QATDP_LINK_BYTES == PATH_MAX, "no link points to more");

int open_regular(int base, const char *path, int flags, struct stat *status)
{
	struct stat found;
	int descriptor;

	/* O_NONBLOCK: the open of a FIFO would wait for its other end, for ever. */
	do
		descriptor = openat(base, path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	while (descriptor < 0 && errno == EINTR);
	if (descriptor < 0)
		return -errno;
	if (fstat(descriptor, &found) < 0 || !S_ISREG(found.st_mode)) {
		close(descriptor);
		return -EINVAL;
	}
	if (status)
		*status = found;
	return descriptor;
}

int read_attribute(int descriptor, char *content, size_t size)
{
	ssize_t length;

	if (size < QATDP_READ_BYTES)
		return -ENOBUFS;
	do
		length = pread(descriptor, content, QATDP_READ_BYTES, 0);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	return length > QATDP_ATTRIBUTE_BYTES ? -EFBIG : (int)length;
}

int qatdp_read(int base, const char *path, char *content, size_t size)
{
	int descriptor, length;

	descriptor = open_regular(base, path, O_RDONLY, NULL);
	if (descriptor < 0)
		return descriptor;
	length = read_attribute(descriptor, content, size);
	close(descriptor);
	return length;
}

int qatdp_link(int base, const char *path, char *name, size_t size)
{
	const char *last;
	ssize_t length;

	if (size < QATDP_LINK_BYTES)
		return -ENOBUFS;
	length = readlinkat(base, path, name, QATDP_LINK_BYTES);
	if (length < 0)
		return -errno;
	last = memrchr(name, '/', (size_t)length);
	if (last) {
		length -= last + 1 - name;
		memmove(name, last + 1, (size_t)length);
	}
	return (int)length;
}

static int is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Append the names of one portion of a folder: how much of `names` is used then. */
static int append_names(const char *portion, size_t length, char *names, size_t used, size_t size)
{
	const struct dirent64 *entry;
	size_t at, room;

	for (at = 0; at < length; at += entry->d_reclen) {
		entry = (const void *)(portion + at);
		if (is_dot(entry->d_name))
			continue;
		room = strlen(entry->d_name) + 1;
		if (room > size - used)
			return -ENOBUFS;
		memcpy(names + used, entry->d_name, room);
		used += room;
	}
	return (int)used;
}

int qatdp_list(int base, const char *path, char *names, size_t size)
{
	_Alignas(struct dirent64) char portion[8192];
	int descriptor, used = 0;
	ssize_t length;

	if (size > INT_MAX)
		size = INT_MAX;
	descriptor = openat(base, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	do {
		/* Not readdir(), which allocates. */
		length = getdents64(descriptor, portion, sizeof(portion));
		if (length > 0)
			used = append_names(portion, (size_t)length, names, (size_t)used, size);
		else if (length < 0)
			used = -errno;
	} while (length > 0 && used >= 0);
	close(descriptor);
	return used;
}

int qatdp_exists(int base, const char *path)
{
	struct stat status;

	return fstatat(base, path, &status, 0) < 0 ? -errno : 0;
}
