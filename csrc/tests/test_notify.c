// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <unistd.h>

#include "../qatdp.h"
#include "check.h"

int main(void)
{
	int descriptor = qatdp_notify();
	char events[4096];

	enter_tree();
	put("folder/file", "");
	CHECK(descriptor >= 0);
	CHECK(qatdp_notify_of(descriptor, "folder") == 0);
	CHECK(qatdp_notify_of(descriptor, "absent") == -ENOENT);
	CHECK(qatdp_notify_of(descriptor, "folder/file") == -ENOTDIR);
	CHECK(qatdp_notify_of(-1, "folder") == -EBADF);
	CHECK(read(descriptor, events, sizeof(events)) == -1 && errno == EAGAIN);
	put("folder/file", "changed");
	CHECK(read(descriptor, events, sizeof(events)) > 0);
	close(descriptor);
	return 0;
}
