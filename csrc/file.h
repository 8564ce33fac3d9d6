/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the helper share: one question about one path. A path is relative to the folder
 * `base`, a descriptor, or AT_FDCWD.
 */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <sys/stat.h>

/* Open a regular file without waiting: its descriptor. -EINVAL for anything else. */
int open_regular(int base, const char *path, int flags, struct stat *status);

/* Read an attribute from its beginning, which makes the kernel write it again: its length. */
int read_attribute(int descriptor, char *content, size_t size);

/* A regular file's content: its length. -EINVAL for anything else, -EFBIG for more than a page. */
int qatdp_read(int base, const char *path, char *content, size_t size);

/* The last component of what a symbolic link points to, which may be empty: its length. */
enum { QATDP_LINK_BYTES = 4096 }; /* room for all that it points to */
int qatdp_link(int base, const char *path, char *name, size_t size);

/* The names in a folder but . and .., each with a NUL behind, in no order: the length of all. */
int qatdp_list(int base, const char *path, char *names, size_t size);

/* 0 where there is such a path, links followed. */
int qatdp_exists(int base, const char *path);

#endif
