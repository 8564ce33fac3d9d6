// SPDX-License-Identifier: Apache-2.0
/*
 * Makes a small bus of whatever comes, and asks it with room of whatever size. The text is taken in
 * pieces, which end with a NUL: each says what is at one place, and one left out leaves it right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../qatdp.h"
#include "../tests/check.h"
#include "fuzz.h"

#define DEVICES "sys/bus/pci/devices/"
#define PF	DEVICES "0000:6b:00.0/"
#define VF	DEVICES "0000:6b:00.1/"
#define GROUP	"sys/kernel/iommu_groups/312/devices/"

enum { MOST = 32, TEXT = 3 * QATDP_READ_BYTES, SLOTS = 2 * MOST };

/* What a piece is: a file's content, a link's target, or a name in a folder. */
enum place_kind { CONTENT, TARGET, NAME };

static const struct place {
	enum place_kind kind;
	const char *path, *right;
} places[] = {
	{ NAME, DEVICES, "" },
	{ NAME, GROUP, "0000:6b:00.1" },
	{ NAME, PF, "" },
	{ NAME, VF "vfio-dev/", "vfio0" },
	{ TARGET, PF "virtfn0", "../0000:6b:00.1" },
	{ TARGET, VF "iommu_group", "../groups/312" },
	{ CONTENT, PF "device", "0x4940\n" },
	{ CONTENT, VF "device", "0x4941\n" },
};

enum { PLACES = sizeof(places) / sizeof(*places) };

static const struct qatdp_model models[] = { { 0x4940, 1, "4xxx" }, { 0x4941, 0, "" } };

static void begin(void)
{
	static int begun;

	if (begun)
		return;
	begun = 1;
	enter_tree();
	put(PF "vendor", "0x8086\n");
	put(VF "vendor", "0x8086\n");
	put(PF "device", "");
	put(VF "device", "");
	put(VF "vfio-dev/vfio0/dev", "");
	put(GROUP "0000:6b:00.2", "");
}

static void put_bytes(const char *path, const char *content, size_t length)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(file >= 0);
	CHECK(write(file, content, length) == (ssize_t)length);
	close(file);
}

/* A name that cannot be one, or is there already, is passed over: 1 where it was made. */
static int put_name(const char *folder, const char *name)
{
	char path[512];

	if (!*name || strchr(name, '/') || strlen(name) > 255)
		return 0;
	snprintf(path, sizeof(path), "%s%s", folder, name);
	return !mkdir(path, 0700);
}

static int place(const struct place *at, const char *piece)
{
	if (at->kind == NAME)
		return put_name(at->path, piece);
	if (at->kind == TARGET)
		return !symlink(piece, at->path);
	put_bytes(at->path, piece, strlen(piece));
	return 1;
}

static void take_away(const struct place *at, const char *piece)
{
	char path[512];

	if (at->kind == TARGET)
		unlink(at->path);
	if (at->kind != NAME)
		return;
	snprintf(path, sizeof(path), "%s%s", at->path, piece);
	rmdir(path);
}

/* Each answer lies within what is used of the text, with a NUL behind path and data. */
static void check_answers(const struct qatdp_answers *answers)
{
	const struct qatdp_answer *answer = answers->answer;

	CHECK(answers->count <= answers->most && answers->used <= answers->size);
	for (uint32_t i = 0; i < answers->count; i++, answer++) {
		CHECK(answer->status <= 0 && answer->status > -4096);
		CHECK(answer->path < answer->data && answer->data < answers->used);
		CHECK(answer->length < answers->used - answer->data);
		CHECK(!answers->text[answer->data - 1]);
		CHECK(!answers->text[answer->data + answer->length]);
	}
}

/* Room of exactly this size, so that a sanitizer sees each byte too many. */
static void scan(uint32_t most, uint32_t size)
{
	struct qatdp_answers answers = { .most = most, .size = size, .slots = SLOTS };
	int error;

	answers.answer = calloc(most ? most : 1, sizeof(*answers.answer));
	answers.text = malloc(size ? size : 1);
	answers.slot = calloc(SLOTS, sizeof(*answers.slot));
	CHECK(answers.answer && answers.text && answers.slot);
	error = qatdp_bus(&answers, "sys/", "dev/", 0x8086, models, 2);
	CHECK(error == 0 || error == -ENOBUFS);
	check_answers(&answers);
	free(answers.slot);
	free(answers.text);
	free(answers.answer);
}

/* The pieces' beginnings: how many there are. What is behind the last place is left alone. */
static size_t split(char *text, size_t length, const char **pieces)
{
	size_t count = 0;

	for (size_t at = 0; at < length && count < PLACES; at += strlen(text + at) + 1)
		pieces[count++] = text + at;
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *pieces[PLACES];
	int made[PLACES];
	char text[1024];
	size_t count;

	if (size < 2 || size - 1 > sizeof(text) - 1)
		return 0;
	begin();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	count = split(text, size, pieces);
	for (size_t i = 0; i < PLACES; i++) {
		if (i >= count || !*pieces[i])
			pieces[i] = places[i].right;
		made[i] = place(&places[i], pieces[i]);
	}
	/* Most often there is enough. */
	scan(data[0] & 1 ? MOST : data[0] % MOST, data[0] & 2 ? TEXT : data[0] * 64u);
	for (size_t i = 0; i < PLACES; i++)
		if (made[i])
			take_away(&places[i], pieces[i]);
	return 0;
}
