// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../qatdp.h"
#include "check.h"

enum { TEXT = 2 * QATDP_READ_BYTES };

static const char paths[] = "state\0services\0state";
static struct qatdp_watched watched[] = {
	{ .kind = QATDP_READ, .path = 0 },
	{ .kind = QATDP_READ, .path = 6 },
	{ .kind = QATDP_EXISTS, .path = 15 },
};
static char *text;

static int look(void)
{
	return qatdp_watch(watched, 3, paths, INT32_MAX, text, TEXT);
}

static int holds(int i, const char *content)
{
	return !watched[i].status && watched[i].length == strlen(content) &&
	       !memcmp(text + watched[i].data, content, watched[i].length);
}

static void check_contents(void)
{
	int32_t descriptor;

	CHECK(look() == 6 && holds(0, "up\n") && holds(1, "dc\n") && !watched[2].status);
	descriptor = watched[0].descriptor;
	put("state", "down\n"); /* in place */
	CHECK(look() == 8 && holds(0, "down\n") && watched[0].descriptor == descriptor);
	put("new", "up\n");
	CHECK(rename("new", "state") == 0);
	CHECK(look() == 6 && holds(0, "up\n"));
	CHECK(unlink("state") == 0);
	CHECK(look() == 3 && watched[0].status == -ENOENT && watched[2].status == -ENOENT &&
	      holds(1, "dc\n"));
	put("state", "up\n");
	CHECK(look() == 6 && holds(0, "up\n"));
}

/* A descriptor that somebody has closed behind our back, and whose number another file has got. */
static void check_that_the_number_alone_does_not_count(void)
{
	int32_t descriptor = watched[1].descriptor;
	char byte;
	int other;

	put("other", "sym\n");
	other = open("other", O_RDONLY);
	CHECK(dup2(other, descriptor) == descriptor);
	CHECK(look() == 6 && holds(1, "dc\n") && watched[1].descriptor != descriptor);
	CHECK(read(descriptor, &byte, 1) == 1 && byte == 's');
	close(descriptor);
	close(other);
}

static void check_room(void)
{
	put("services", "dc\n");
	CHECK(qatdp_watch(watched, 3, paths, INT32_MAX, text, QATDP_READ_BYTES - 1) == -ENOBUFS);
	CHECK(qatdp_watch(watched, 3, paths, INT32_MAX, text, QATDP_READ_BYTES) == -ENOBUFS);
	CHECK(qatdp_watch(watched, 3, paths, INT32_MAX, text, QATDP_READ_BYTES + 6) == 6);
}

/* From the second descriptor on they are closed, and opened for each look. */
static void check_keep_below(int before)
{
	int32_t first = watched[0].descriptor;

	CHECK(qatdp_watch(watched, 3, paths, first + 1, text, TEXT) == 6 && holds(1, "dc\n"));
	CHECK(descriptors() == before + 1 && watched[0].is_open && !watched[1].is_open);
	CHECK(qatdp_watch(watched, 3, paths, 0, text, TEXT) == 6 && holds(0, "up\n"));
	CHECK(descriptors() == before && !watched[0].is_open);
	CHECK(look() == 6 && descriptors() == before + 2);
}

int main(void)
{
	int before;

	enter_tree();
	put("state", "up\n");
	put("services", "dc\n");
	text = malloc(TEXT);
	CHECK(text);
	before = descriptors();
	check_contents();
	check_that_the_number_alone_does_not_count();
	check_room();
	CHECK(descriptors() == before + 2);
	check_keep_below(before);
	qatdp_unwatch(watched, 3);
	qatdp_unwatch(watched, 3);
	CHECK(descriptors() == before);
	free(text);
	return 0;
}
