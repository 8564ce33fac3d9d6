/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What qatdp asks of the kernel's files, in few calls that need no interpreter.
 *
 * Each function returns 0 or a positive value, or -errno. The caller owns all memory and all
 * descriptors, and a bound comes with every buffer: one that is too small is -ENOBUFS. Nothing is
 * kept between calls but what the caller hands in again. src/qatdp/host/calls/portable.py does the
 * same in Python, and says what is right.
 *
 * This is the declaration for cffi as well, less the lines that begin with '#' (cdef.py).
 */
#ifndef QATDP_H
#define QATDP_H

#include <stddef.h>
#include <stdint.h>

/* An attribute has a page at most (fs/sysfs/file.c); the byte more tells that there is more. */
enum { QATDP_ATTRIBUTE_BYTES = 4096, QATDP_READ_BYTES = QATDP_ATTRIBUTE_BYTES + 1 };

/* bus.c: many questions, each asked once */

enum qatdp_kind { QATDP_READ, QATDP_LINK, QATDP_LIST, QATDP_EXISTS };

/* Path and what came back begin at text[path] and text[data]. Each has a NUL behind it. */
struct qatdp_answer {
	uint32_t kind;
	int32_t status; /* 0 or -errno */
	uint32_t path;
	uint32_t data, length;
};

/* Room for answers, all of it the caller's. */
struct qatdp_answers {
	struct qatdp_answer *answer;
	uint32_t count, most;
	char *text;
	uint32_t used, size;
	uint32_t *slot; /* by hash: the index of an answer + 1, or 0 */
	uint32_t slots; /* a power of two, larger than `most` */
};

enum { QATDP_DRIVER_BYTES = 16 };

struct qatdp_model {
	uint32_t device; /* PCI device id */
	uint32_t is_pf;
	char driver[QATDP_DRIVER_BYTES]; /* of a PF whose services can be chosen, else empty */
};

/*
 * Ask for whatever tells of the functions of one vendor that are of these models, and of their
 * IOMMU groups and nodes. sysfs and dev are folders, with a / behind.
 */
int qatdp_bus(struct qatdp_answers *answers, const char *sysfs, const char *dev, uint32_t vendor,
	      const struct qatdp_model *models, uint32_t count);

/* watch.c: the same questions over and over */

/* A question. Zeroed but for kind and path before it is asked for the first time. */
struct qatdp_watched {
	uint32_t kind;	       /* QATDP_READ or QATDP_EXISTS */
	uint32_t path;	       /* where its path begins in `paths` */
	int32_t status;	       /* 0 or -errno */
	uint32_t data, length; /* what came back is text[data .. data + length - 1] */
	int32_t descriptor;    /* of the file that is kept open, where is_open */
	uint32_t is_open;
	uint64_t device, inode; /* of that file: the number may be another file's now */
};

/*
 * Ask all of them again: the length of text that is used. Only files whose descriptors are below
 * `keep_below` stay open: the others are opened each time.
 */
int qatdp_watch(struct qatdp_watched *watched, uint32_t count, const char *paths,
		int32_t keep_below, char *text, size_t size);

/* Close what is kept open. */
void qatdp_unwatch(struct qatdp_watched *watched, uint32_t count);

/* vfio.c: VFIO's own answers (linux/vfio.h). To ask is to open: a group that is open is -EBUSY. */

enum { QATDP_VFIO_VIABLE = 1, QATDP_VFIO_IN_USE = 2 };

/* The version of its interface; > 0 where it knows an extension, such as 3, the IOMMU of type 1. */
int qatdp_vfio_version(const char *container);
int qatdp_vfio_extension(const char *container, uint32_t extension);

/* QATDP_VFIO_VIABLE where all devices of a group may be handed out, QATDP_VFIO_IN_USE. */
int qatdp_vfio_group(const char *group);

/* notify.c: something has changed in a folder (inotify), which makes the descriptor readable. */

int qatdp_notify(void);
int qatdp_notify_of(int descriptor, const char *folder);

#endif
