// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../file.h"
#include "../qatdp.h"
#include "check.h"

/* As large as it may be and no larger: a sanitizer sees each byte too many. */
static char *content;

static int read_it(const char *path)
{
	return qatdp_read(AT_FDCWD, path, content, QATDP_READ_BYTES);
}

static void check_read(void)
{
	char page[QATDP_READ_BYTES + 1];

	memset(page, 'x', sizeof(page));
	page[QATDP_READ_BYTES] = '\0';
	put("more", page);
	page[QATDP_ATTRIBUTE_BYTES] = '\0';
	put("page", page);
	CHECK(read_it("vendor") == 7 && !memcmp(content, "0x8086\n", 7));
	CHECK(read_it("page") == QATDP_ATTRIBUTE_BYTES);
	CHECK(read_it("more") == -EFBIG);
	CHECK(read_it("fifo") == -EINVAL && read_it(".") == -EINVAL &&
	      read_it("/dev/null") == -EINVAL);
	CHECK(read_it("absent") == -ENOENT && read_it("loop") == -ELOOP &&
	      read_it("vendor/x") == -ENOTDIR);
	CHECK(read_it("/proc/self/mem") == -EIO);
	CHECK(qatdp_read(AT_FDCWD, "vendor", content, QATDP_READ_BYTES - 1) == -ENOBUFS);
}

static int link_is(const char *path, const char *last)
{
	int length = qatdp_link(AT_FDCWD, path, content, QATDP_LINK_BYTES);

	return length == (int)strlen(last) && !memcmp(content, last, (size_t)length);
}

static void check_link(void)
{
	CHECK(link_is("driver", "vfio-pci") && link_is("loop", "loop") && link_is("slash", "") &&
	      link_is("dots", ".."));
	CHECK(qatdp_link(AT_FDCWD, "vendor", content, QATDP_LINK_BYTES) == -EINVAL);
	CHECK(qatdp_link(AT_FDCWD, "absent", content, QATDP_LINK_BYTES) == -ENOENT);
	CHECK(qatdp_link(AT_FDCWD, "driver", content, QATDP_LINK_BYTES - 1) == -ENOBUFS);
}

static void check_list(void)
{
	char name[32];
	char *names;
	int length = 0;

	for (int i = 0; i < 1000; i++) { /* more than one portion */
		snprintf(name, sizeof(name), "many/name%d", i);
		put(name, "");
		length += (int)strlen(name) - 4;
	}
	names = malloc((size_t)length);
	CHECK(names && qatdp_list(AT_FDCWD, "many", names, (size_t)length) == length &&
	      !names[length - 1]);
	CHECK(qatdp_list(AT_FDCWD, "many", names, (size_t)length - 1) == -ENOBUFS);
	free(names);
	CHECK(qatdp_list(AT_FDCWD, "vendor", content, 1) == -ENOTDIR);
	CHECK(qatdp_list(AT_FDCWD, "fifo", content, 1) == -ENOTDIR);
	CHECK(qatdp_list(AT_FDCWD, "absent", content, 1) == -ENOENT);
	mkdir("empty", 0755);
	CHECK(qatdp_list(AT_FDCWD, "empty", content, 0) == 0);
}

static void check_exists(void)
{
	CHECK(qatdp_exists(AT_FDCWD, "vendor") == 0 && qatdp_exists(AT_FDCWD, ".") == 0);
	CHECK(qatdp_exists(AT_FDCWD, "driver") == -ENOENT &&
	      qatdp_exists(AT_FDCWD, "loop") == -ELOOP);
}

int main(void)
{
	int before;

	enter_tree();
	put("vendor", "0x8086\n");
	put_link("driver", "../../drivers/vfio-pci");
	put_link("loop", "loop");
	put_link("slash", "nowhere/");
	put_link("dots", "..");
	CHECK(mkfifo("fifo", 0644) == 0);
	content = malloc(QATDP_READ_BYTES);
	CHECK(content);
	before = descriptors();
	check_read();
	check_link();
	check_list();
	check_exists();
	CHECK(descriptors() == before);
	free(content);
	return 0;
}
