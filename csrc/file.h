/* SPDX-License-Identifier: Apache-2.0 */
/* What sysfs.c and watch.c share: an attribute's descriptor. */
#ifndef FILE_H
#define FILE_H

#include <stddef.h>
#include <sys/stat.h>

/* Open a regular file without waiting: its descriptor. -EINVAL for anything else. */
int open_regular(int base, const char *path, int flags, struct stat *status);

/* Read an attribute from its beginning, which makes the kernel write it anew: its length. */
int read_attribute(int descriptor, char *content, size_t size);

#endif
