// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "../qatdp.h"
#include "check.h"

enum { MOST = 64, TEXT = 1 << 14 };

#define DEVICES "sys/bus/pci/devices/"
#define PF	DEVICES "0000:6b:00.0/"
#define VF	DEVICES "0000:6b:00.1/"

static const struct qatdp_model models[] = { { 0x4940, 1, "4xxx" }, { 0x4941, 0, "" } };

/* Room of exactly this size, so that a sanitizer sees each byte too many. */
static struct qatdp_answers room(uint32_t most, uint32_t size)
{
	struct qatdp_answers answers = { .most = most, .size = size, .slots = 2 * MOST };

	answers.answer = calloc(most ? most : 1, sizeof(*answers.answer));
	answers.text = malloc(size ? size : 1);
	answers.slot = calloc(answers.slots, sizeof(*answers.slot));
	CHECK(answers.answer && answers.text && answers.slot);
	return answers;
}

static void free_room(const struct qatdp_answers *answers)
{
	free(answers->answer);
	free(answers->text);
	free(answers->slot);
}

static int scan(struct qatdp_answers *answers)
{
	return qatdp_bus(answers, "sys/", "dev/", 0x8086, models, 2);
}

static const struct qatdp_answer *find(const struct qatdp_answers *answers, enum qatdp_kind kind,
				       const char *path)
{
	const struct qatdp_answer *found = NULL, *answer;

	for (uint32_t i = 0; i < answers->count; i++) {
		answer = &answers->answer[i];
		if (answer->kind == kind && !strcmp(answers->text + answer->path, path)) {
			CHECK(!found); /* each is asked once */
			found = answer;
		}
	}
	CHECK(found);
	return found;
}

static int holds(const struct qatdp_answers *answers, enum qatdp_kind kind, const char *path,
		 const char *text)
{
	const struct qatdp_answer *answer = find(answers, kind, path);
	const char *data = answers->text + answer->data;

	return !answer->status && answer->length == strlen(text) && !strcmp(data, text);
}

static int fails(const struct qatdp_answers *answers, enum qatdp_kind kind, const char *path,
		 int status)
{
	const struct qatdp_answer *answer = find(answers, kind, path);

	return answer->status == status && answer->length == 0;
}

static void make_bus(void)
{
	put("sys/bus/pci/drivers/vfio-pci/bind", "");
	put(PF "vendor", "0x8086\n");
	put(PF "device", "0x4940\n");
	put(PF "qat/state", "up\n");
	put(PF "sriov_totalvfs", "16\n");
	put_link(PF "driver", "../../drivers/4xxx");
	put_link(PF "virtfn0", "../0000:6b:00.1");
	put_link(PF "virtfn1", "../0000:6b:00.2");
	put(VF "vendor", "0x8086\n");
	put(VF "device", "0x4941\n");
	put(VF "numa_node", "1\n");
	put(VF "vfio-dev/vfio0/dev", "510:0\n");
	put_link(VF "iommu_group", "../groups/312");
	/* Two VFs in one group: the second is asked about as a member before it is as itself. */
	put("sys/kernel/iommu_groups/312/devices/0000:6b:00.1", "");
	put("sys/kernel/iommu_groups/312/devices/0000:6b:00.3", "");
	put(DEVICES "0000:6b:00.3/vendor", "0x8086\n");
	put(DEVICES "0000:6b:00.3/device", "0x4941\n");
	put(DEVICES "0000:6b:00.3/numa_node", "0\n");
	put_link(DEVICES "0000:6b:00.3/iommu_group", "../groups/312");
	put("dev/vfio/312", "");
	put(DEVICES "0000:17:00.0/vendor", "0x1af4\n");
	put(DEVICES "nonsense", "");
}

static void check_answers(void)
{
	struct qatdp_answers answers = room(MOST, TEXT);

	CHECK(scan(&answers) == 0);
	CHECK(find(&answers, QATDP_LIST, "sys/bus/pci/drivers")->length == sizeof("vfio-pci"));
	CHECK(holds(&answers, QATDP_READ, PF "qat/state", "up\n"));
	CHECK(holds(&answers, QATDP_READ, PF "sriov_totalvfs", "16\n"));
	CHECK(holds(&answers, QATDP_LINK, PF "driver", "4xxx"));
	CHECK(holds(&answers, QATDP_LINK, PF "virtfn0", "0000:6b:00.1"));
	CHECK(fails(&answers, QATDP_READ, PF "qat/cfg_services", -ENOENT));
	CHECK(fails(&answers, QATDP_READ, "sys/kernel/debug/qat_4xxx_0000:6b:00.0/dev_cfg",
		    -ENOENT));
	CHECK(fails(&answers, QATDP_EXISTS, DEVICES "0000:6b:00.2", -ENOENT));
	CHECK(holds(&answers, QATDP_READ, VF "numa_node", "1\n"));
	CHECK(holds(&answers, QATDP_READ, DEVICES "0000:6b:00.3/numa_node", "0\n"));
	CHECK(fails(&answers, QATDP_LINK, VF "driver", -ENOENT));
	CHECK(holds(&answers, QATDP_EXISTS, VF "vfio-dev/vfio0/dev", ""));
	CHECK(fails(&answers, QATDP_EXISTS, "dev/vfio/devices/vfio0", -ENOENT));
	CHECK(holds(&answers, QATDP_EXISTS, "dev/vfio/312", ""));
	CHECK(holds(&answers, QATDP_READ, DEVICES "0000:17:00.0/vendor", "0x1af4\n"));
	free_room(&answers);
}

/* All ids are read before anything else: of what goes meanwhile, less is seen. */
static void check_order(void)
{
	struct qatdp_answers answers = room(MOST, TEXT);
	const struct qatdp_answer *first_of_pf;

	CHECK(scan(&answers) == 0);
	first_of_pf = find(&answers, QATDP_LIST, DEVICES "0000:6b:00.0");
	CHECK(find(&answers, QATDP_READ, VF "device") < first_of_pf);
	CHECK(find(&answers, QATDP_READ, DEVICES "0000:6b:00.3/device") < first_of_pf);
	CHECK(find(&answers, QATDP_READ, DEVICES "0000:17:00.0/vendor") < first_of_pf);
	free_room(&answers);
}

/* Whatever the room, it is enough or too small, and nothing is written past its end. */
static void check_room(void)
{
	struct qatdp_answers answers;
	int error, before = descriptors();

	for (uint32_t most = 0; most < MOST; most++) {
		answers = room(most, TEXT);
		error = scan(&answers);
		CHECK(error == 0 || error == -ENOBUFS);
		free_room(&answers);
	}
	CHECK(error == 0);
	for (uint32_t size = 0; size < TEXT; size += 7) {
		answers = room(MOST, size);
		error = scan(&answers);
		CHECK(error == 0 || error == -ENOBUFS);
		free_room(&answers);
	}
	CHECK(error == 0 && descriptors() == before);
}

static void check_slots(void)
{
	struct qatdp_answers answers = room(MOST, TEXT);

	answers.slots = MOST;
	CHECK(scan(&answers) == -EINVAL);
	answers.slots = MOST + 1;
	CHECK(scan(&answers) == -EINVAL);
	free_room(&answers);
}

int main(void)
{
	enter_tree();
	make_bus();
	check_answers();
	check_order();
	check_room();
	check_slots();
	return 0;
}
