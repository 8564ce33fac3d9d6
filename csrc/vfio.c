// SPDX-License-Identifier: Apache-2.0
/* VFIO's own answers, each from a descriptor that is closed again: who opens a group has it alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "qatdp.h"

_Static_assert(QATDP_VFIO_VIABLE == VFIO_GROUP_FLAGS_VIABLE, "a flag of the kernel's");
_Static_assert(QATDP_VFIO_IN_USE == VFIO_GROUP_FLAGS_CONTAINER_SET, "a flag of the kernel's");

static int open_node(const char *path)
{
	int descriptor = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return descriptor < 0 ? -errno : descriptor;
}

static int ask(const char *path, unsigned long question, uintptr_t argument)
{
	int answer, descriptor = open_node(path);

	if (descriptor < 0)
		return descriptor;
	answer = ioctl(descriptor, question, argument);
	if (answer < 0)
		answer = -errno;
	close(descriptor);
	return answer;
}

int qatdp_vfio_version(const char *container)
{
	return ask(container, VFIO_GET_API_VERSION, 0);
}

int qatdp_vfio_extension(const char *container, uint32_t extension)
{
	return ask(container, VFIO_CHECK_EXTENSION, extension);
}

int qatdp_vfio_group(const char *group)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int error = ask(group, VFIO_GROUP_GET_STATUS, (uintptr_t)&status);

	return error < 0 ? error : (int)status.flags;
}
