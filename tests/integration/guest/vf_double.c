// SPDX-License-Identifier: Apache-2.0
/*
 * vf_double - a double of the registers of QAT gen4 VFs, preloaded into a client of VFIO.
 *
 * The guest's VFs are NVMe functions that look like QAT: they lack BAR 2, most of BAR 0, and MSI.
 * Here both BARs are plain memory, and a thread answers the mailbox in BAR 2 as the PF's driver
 * would, by what the PF's cfg_services says. VFIO itself stays the kernel's: nodes, groups, devices,
 * configuration space, DMA maps, and all that it refuses.
 *
 * No ring is ever served: no request is answered. What a client says of a VF's services is what was
 * read from sysfs here.
 *
 * The protocol is that of Linux 6.12, drivers/crypto/intel/qat/qat_common: adf_pfvf_msg.h for the
 * messages, adf_pfvf_pf_proto.c for the answers. Where the mailbox lies in a VF's own BAR is known
 * to clients alone, such as DPDK (drivers/common/qat/dev/qat_dev_gen4.c).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_VFS		16
#define BAR0_BYTES	0x100000
#define BAR2_BYTES	0x2000
#define PF2VF		0x1008
#define VF2PF		0x100c
#define LOOK_US		100

/* VFIO_PCI_OFFSET_SHIFT: which region of a device an offset belongs to. */
#define REGION(offset)	((uint64_t)(offset) >> 40)

/* A message: bit 0 wants attention, bit 1 says it is of this protocol. */
#define TYPE(message)	((message) >> 2 & 0x3f)
#define DATA(message)	((message) >> 8)
#define MESSAGE(type, data) ((uint32_t)(data) << 8 | (uint32_t)(type) << 2 | 3)

enum { VERSION_REQ = 5, COMPAT_VER_REQ = 6, SMALL_BLOCK_REQ = 9, RP_RESET = 0x10 };
enum { VERSION_RESP = 2, BLKMSG_RESP = 3, RP_RESET_RESP = 0x10 };
enum { CAP_SUMMARY = 2, RING_SVC_MAP = 3 };
enum { RESP_DATA, RESP_CRC, RESP_ERROR };
enum { INVALID_BLOCK_TYPE, INVALID_BYTE_NUM_REQ };

/* adf_cfg_common.h, enum adf_cfg_service_type; four ring pairs, three bits each. */
enum { COMP = 2, SYM = 3, ASYM = 4 };
#define RINGS(a, b, c, d) ((a) | (b) << 3 | (c) << 6 | (d) << 9)

/* icp_qat_hw.h: symmetric, asymmetric, cipher and authentication; compression. */
#define CY_CAPABILITIES	0x0fu
#define DC_CAPABILITIES	0x20u
#define FREQUENCY_HZ	1000000000u

struct vf {
	int fd;
	bool dc;
	uint8_t *bar2; /* as mapped; NULL while it is not */
	char address[16];
};

static struct vf vfs[MAX_VFS];
static size_t nvfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of both, as the thread reads them */
static pthread_once_t begun = PTHREAD_ONCE_INIT;

/* mailbox */

/* As the kernel's crc8() by adf_pfvf_utils.c: polynomial 0x97, begun with all ones. */
static uint8_t crc8(const uint8_t *bytes, size_t size)
{
	unsigned int crc = 0xff;

	while (size--) {
		crc ^= *bytes++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc & 0x80 ? 0x97 : 0);
		crc &= 0xff;
	}
	return (uint8_t)crc;
}

/* Writes a block with its two bytes of header; returns its size, 0 where there is no such block. */
static size_t make_block(const struct vf *vf, unsigned int type, uint8_t *block)
{
	const uint32_t capabilities[] = { 0, vf->dc ? DC_CAPABILITIES : CY_CAPABILITIES,
					  FREQUENCY_HZ };
	const uint16_t rings = vf->dc ? RINGS(COMP, COMP, COMP, COMP) : RINGS(ASYM, SYM, ASYM, SYM);

	switch (type) {
	case CAP_SUMMARY:
		block[0] = 3; /* ADF_PFVF_CAPABILITIES_V3_VERSION */
		block[1] = sizeof(capabilities);
		memcpy(block + 2, capabilities, sizeof(capabilities));
		return 2 + sizeof(capabilities);
	case RING_SVC_MAP:
		block[0] = 1; /* ADF_PFVF_RING_TO_SVC_VERSION */
		block[1] = sizeof(rings);
		memcpy(block + 2, &rings, sizeof(rings));
		return 2 + sizeof(rings);
	}
	return 0;
}

static uint32_t answer_block(const struct vf *vf, uint32_t data)
{
	unsigned int byte = data >> 4 & 0x1f, value;
	bool wants_crc = data & 1 << 9;
	int kind = RESP_ERROR;
	uint8_t block[32];
	size_t size = make_block(vf, data & 0xf, block);

	if (!size) {
		value = INVALID_BLOCK_TYPE;
	} else if (byte >= size) {
		value = INVALID_BYTE_NUM_REQ;
	} else {
		kind = wants_crc ? RESP_CRC : RESP_DATA;
		value = wants_crc ? crc8(block, byte + 1) : block[byte];
	}
	return MESSAGE(BLKMSG_RESP, value << 2 | (unsigned int)kind);
}

/* Returns the answer, 0 where the message has none: it is acknowledged all the same. */
static uint32_t answer(const struct vf *vf, uint32_t message)
{
	const unsigned int compatible = 1 << 8;

	switch (TYPE(message)) {
	case VERSION_REQ:
		return MESSAGE(VERSION_RESP, compatible | 0x11);
	case COMPAT_VER_REQ:
		return MESSAGE(VERSION_RESP, compatible | 4); /* the first with rings to services */
	case SMALL_BLOCK_REQ:
		return answer_block(vf, DATA(message));
	case RP_RESET:
		return MESSAGE(RP_RESET_RESP, 0);
	}
	return 0;
}

static void look(const struct vf *vf)
{
	uint32_t *asked = (uint32_t *)(void *)(vf->bar2 + VF2PF);
	uint32_t *answered = (uint32_t *)(void *)(vf->bar2 + PF2VF);
	uint32_t message = __atomic_load_n(asked, __ATOMIC_ACQUIRE), said;

	if (!(message & 1))
		return;
	said = answer(vf, message);
	if (said)
		__atomic_store_n(answered, said, __ATOMIC_RELEASE);
	__atomic_store_n(asked, message & ~1u, __ATOMIC_RELEASE);
}

static void *serve(void *unused)
{
	for (;; usleep(LOOK_US)) {
		pthread_mutex_lock(&lock);
		for (size_t i = 0; i < nvfs; i++)
			if (vfs[i].bar2)
				look(&vfs[i]);
		pthread_mutex_unlock(&lock);
	}
	return unused;
}

static void begin(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, NULL))
		fprintf(stderr, "vf_double: no thread\n");
}

/* devices */

static struct vf *find(int fd)
{
	for (size_t i = nvfs; i--;)
		if (fd >= 0 && vfs[i].fd == fd)
			return &vfs[i];
	return NULL;
}

static bool is_for_compression(const char *address)
{
	char path[128], services[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/physfn/qat/cfg_services", address);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, services, sizeof(services) - 1) < 0)
		fprintf(stderr, "vf_double: %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return !strncmp(services, "dc", 2);
}

/* Keeps a device that was opened. A client may open one again, and a number may come again. */
static void add(int fd, const char *address)
{
	struct vf *vf = find(fd);
	size_t i;

	if (vf)
		vf->fd = -1;
	for (i = 0; i < nvfs && strcmp(vfs[i].address, address); i++)
		;
	if (i == MAX_VFS)
		return;
	vfs[i].fd = fd;
	vfs[i].dc = is_for_compression(address);
	vfs[i].bar2 = NULL;
	snprintf(vfs[i].address, sizeof(vfs[i].address), "%s", address);
	if (i == nvfs)
		nvfs++;
	fprintf(stderr, "vf_double: opened %s for %s\n", address, vfs[i].dc ? "dc" : "cy");
}

/* Alters what VFIO said of a device, where it is about what is doubled. */
static void amend(unsigned long request, void *argument)
{
	struct vfio_region_info *region = argument;
	struct vfio_irq_info *irq = argument;

	if (request == VFIO_DEVICE_GET_REGION_INFO &&
	    (region->index == VFIO_PCI_BAR0_REGION_INDEX ||
	     region->index == VFIO_PCI_BAR2_REGION_INDEX)) {
		region->size = region->index ? BAR2_BYTES : BAR0_BYTES;
		region->flags |= VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
				 VFIO_REGION_INFO_FLAG_MMAP;
	} else if (request == VFIO_DEVICE_GET_IRQ_INFO && irq->index == VFIO_PCI_MSI_IRQ_INDEX) {
		irq->count = 1;
		irq->flags |= VFIO_IRQ_INFO_EVENTFD;
	}
}

/* calls that are stood in for */

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*call)(int, unsigned long, void *) = (int (*)(int, unsigned long, void *))real("ioctl");
	const struct vfio_irq_set *irqs;
	bool doubled;
	void *argument;
	va_list list;
	int ret;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	irqs = argument;
	pthread_mutex_lock(&lock);
	doubled = find(fd);
	pthread_mutex_unlock(&lock);
	if (doubled && request == VFIO_DEVICE_SET_IRQS && irqs->index == VFIO_PCI_MSI_IRQ_INDEX)
		return 0;
	ret = call(fd, request, argument);
	if (ret >= 0 && request == VFIO_GROUP_GET_DEVICE_FD) {
		pthread_mutex_lock(&lock);
		add(ret, argument);
		pthread_mutex_unlock(&lock);
	} else if (ret >= 0 && doubled) {
		amend(request, argument);
	}
	return ret;
}

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *(*call)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))real("mmap");
	uint64_t region = REGION(offset);
	struct vf *vf = NULL;
	void *memory;

	if (region == VFIO_PCI_BAR0_REGION_INDEX || region == VFIO_PCI_BAR2_REGION_INDEX) {
		pthread_mutex_lock(&lock);
		vf = find(fd);
		pthread_mutex_unlock(&lock);
	}
	if (!vf)
		return call(where, size, protection, flags, fd, offset);
	memory = call(where, size, protection, flags | MAP_ANONYMOUS, -1, 0);
	if (region == VFIO_PCI_BAR2_REGION_INDEX && memory != MAP_FAILED) {
		pthread_mutex_lock(&lock);
		vf->bar2 = memory;
		pthread_mutex_unlock(&lock);
		pthread_once(&begun, begin);
	}
	return memory;
}

void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

int munmap(void *where, size_t size)
{
	int (*call)(void *, size_t) = (int (*)(void *, size_t))real("munmap");

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < nvfs; i++)
		if (vfs[i].bar2 == where)
			vfs[i].bar2 = NULL;
	pthread_mutex_unlock(&lock);
	return call(where, size);
}
