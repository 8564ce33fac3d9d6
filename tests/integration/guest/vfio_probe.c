// SPDX-License-Identifier: Apache-2.0
/*
 * vfio_probe - proves from inside a container that the VFs named in its environment are its own.
 *
 *	vfio_probe		prove each once; exit status 0 when all of them did
 *	vfio_probe hold [S]	keep them open, prove each again every S seconds (2), until a signal
 *	vfio_probe names	only say which are named, open nothing, stay until a signal
 *	vfio_probe cdev ...	by iommufd and the device's own node, not by its group's
 *
 * The addresses come from where real clients take them: every variable whose name begins with QAT
 * (one each, as Intel's DPDK image does) and PCIDEVICE_QAT_INTEL_COM_* (a list with commas).
 * A proof goes the whole way: group node, TYPE1v2 IOMMU, device by address (or device node, iommufd,
 * address space), ids from config space, 1 MiB mapped for DMA, function reset, size of BAR 0. One JSON
 * object a line tells the outcome. A VF that is not named must be out of reach: it has no node here
 * (ENOENT), and a node of ours does not lead to its address (a group's: ENODEV; a device's: ENOTTY).
 *
 * Static, and all it needs is /sys and /dev/vfio, so it runs in an image that holds nothing else.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_VFS		64
#define DMA_BYTES	0x100000ul
#define DMA_IOVA	0x100000ul
#define DEVICES		"/sys/bus/pci/devices"

struct vf {
	char address[32];
	char variables[512];	/* the names that gave the address, with blanks between */
	char node[32];		/* below /dev/vfio: its group's number, or devices/vfio<n> */
	int iommu;		/* /dev/vfio/vfio or /dev/iommu */
	int node_fd;
	uint32_t address_space;	/* of iommufd */
	int device;
};

struct proof {
	uint16_t ids[2];	/* vendor, device */
	uint64_t bar0_bytes;
};

static struct vf vfs[MAX_VFS];
static size_t nvfs;
static bool by_cdev;

static const char *error_name(int negative_errno)
{
	const char *name = strerrorname_np(-negative_errno);

	return name ? name : "?";
}

/* environment */

static struct vf *find_vf(const char *address)
{
	for (size_t i = 0; i < nvfs; i++)
		if (!strcmp(vfs[i].address, address))
			return &vfs[i];
	return NULL;
}

static void add_address(const char *address, const char *variable)
{
	struct vf *vf = find_vf(address);
	size_t used;

	if (!vf) {
		if (nvfs == MAX_VFS || strlen(address) >= sizeof(vf->address) ||
		    strpbrk(address, "\"\\\n")) {
			fprintf(stderr, "vfio_probe: no address: %s=%s\n", variable, address);
			exit(2);
		}
		vf = &vfs[nvfs++];
		strcpy(vf->address, address);
	}
	used = strlen(vf->variables);
	snprintf(vf->variables + used, sizeof(vf->variables) - used, "%s%s",
		 used ? " " : "", variable);
}

static int begins_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static void read_environment(char **environment)
{
	for (char **entry = environment; *entry; entry++) {
		char *copy, *value, *address;

		if (!begins_with(*entry, "QAT") && !begins_with(*entry, "PCIDEVICE_QAT_INTEL_COM_") &&
		    !begins_with(*entry, "PCI_RESOURCE_QAT_INTEL_COM_"))
			continue;
		copy = strdup(*entry);
		if (!copy)
			exit(2);
		value = strchr(copy, '=');
		*value++ = '\0';
		while ((address = strsep(&value, ",")))
			add_address(address, copy);
		free(copy);
	}
}

/* VFIO by groups */

static int find_group(const char *address, char *node, size_t size)
{
	char path[128], target[256];
	const char *number;
	ssize_t length;

	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", address);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	number = strrchr(target, '/');
	if (!number || strlen(number + 1) >= size)
		return -EINVAL;
	strcpy(node, number + 1);
	return 0;
}

static int get_device(int group_fd, const char *address)
{
	int fd = ioctl(group_fd, VFIO_GROUP_GET_DEVICE_FD, address);

	return fd < 0 ? -errno : fd;
}

static int attach_group(struct vf *vf, const char **step)
{
	*step = "VFIO_GROUP_SET_CONTAINER";
	if (ioctl(vf->node_fd, VFIO_GROUP_SET_CONTAINER, &vf->iommu))
		return -errno;
	*step = "VFIO_SET_IOMMU";
	if (ioctl(vf->iommu, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	*step = "VFIO_GROUP_GET_DEVICE_FD";
	vf->device = get_device(vf->node_fd, vf->address);
	return vf->device < 0 ? vf->device : 0;
}

static int map_by_type1(const struct vf *vf, void *memory, const char **step)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = DMA_IOVA,
		.size = DMA_BYTES,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = DMA_IOVA, .size = DMA_BYTES,
	};

	*step = "VFIO_IOMMU_MAP_DMA";
	if (ioctl(vf->iommu, VFIO_IOMMU_MAP_DMA, &map))
		return -errno;
	*step = "VFIO_IOMMU_UNMAP_DMA";
	return ioctl(vf->iommu, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : 0;
}

/*
 * VFIO by devices. As include/uapi/linux/{vfio,iommufd}.h have it since 6.6; the headers of Debian 12
 * are older.
 */
#define CDEV_BIND		_IO(VFIO_TYPE, VFIO_BASE + 18)	/* VFIO_DEVICE_BIND_IOMMUFD */
#define CDEV_ATTACH		_IO(VFIO_TYPE, VFIO_BASE + 19)	/* VFIO_DEVICE_ATTACH_IOMMUFD_PT */
#define ADDRESS_SPACE		_IO(';', 0x81)			/* IOMMU_IOAS_ALLOC */
#define ADDRESS_SPACE_MAP	_IO(';', 0x85)			/* IOMMU_IOAS_MAP */
#define ADDRESS_SPACE_UNMAP	_IO(';', 0x86)			/* IOMMU_IOAS_UNMAP */
#define MAP_FIXED_READ_WRITE	7u

struct cdev_bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct cdev_attach {
	uint32_t argsz, flags, pt_id;
};

struct address_space {
	uint32_t size, flags, out_ioas_id;
};

struct address_space_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct address_space_unmap {
	uint32_t size, ioas_id;
	uint64_t iova, length;
};

static int find_cdev(const char *address, char *node, size_t size)
{
	struct dirent *entry = NULL;
	char path[128];
	DIR *folder;
	int ret;

	snprintf(path, sizeof(path), DEVICES "/%s/vfio-dev", address);
	folder = opendir(path);
	if (!folder)
		return -errno;
	do
		entry = readdir(folder);
	while (entry && strncmp(entry->d_name, "vfio", 4));
	ret = entry ? snprintf(node, size, "devices/%s", entry->d_name) : -ENODEV;
	closedir(folder);
	return ret < 0 ? ret : 0;
}

static int attach_cdev(struct vf *vf, const char **step)
{
	struct cdev_bind bind = { .argsz = sizeof(bind), .iommufd = vf->iommu };
	struct address_space space = { .size = sizeof(space) };
	struct cdev_attach attach = { .argsz = sizeof(attach) };

	vf->device = vf->node_fd;
	*step = "VFIO_DEVICE_BIND_IOMMUFD";
	if (ioctl(vf->device, CDEV_BIND, &bind))
		return -errno;
	*step = "IOMMU_IOAS_ALLOC";
	if (ioctl(vf->iommu, ADDRESS_SPACE, &space))
		return -errno;
	vf->address_space = attach.pt_id = space.out_ioas_id;
	*step = "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
	return ioctl(vf->device, CDEV_ATTACH, &attach) ? -errno : 0;
}

static int map_by_iommufd(const struct vf *vf, void *memory, const char **step)
{
	struct address_space_map map = {
		.size = sizeof(map),
		.flags = MAP_FIXED_READ_WRITE,
		.ioas_id = vf->address_space,
		.user_va = (uintptr_t)memory,
		.length = DMA_BYTES,
		.iova = DMA_IOVA,
	};
	struct address_space_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = vf->address_space, .iova = DMA_IOVA, .length = DMA_BYTES,
	};

	*step = "IOMMU_IOAS_MAP";
	if (ioctl(vf->iommu, ADDRESS_SPACE_MAP, &map))
		return -errno;
	*step = "IOMMU_IOAS_UNMAP";
	return ioctl(vf->iommu, ADDRESS_SPACE_UNMAP, &unmap) ? -errno : 0;
}

/* VFIO by either */

/* Writes which node below /dev/vfio an address has. */
static int find_node(const char *address, char *node, size_t size)
{
	return by_cdev ? find_cdev(address, node, size) : find_group(address, node, size);
}

static int open_node(const char *node)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%s", node);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Opens a VF for good; on an error *step names the call. */
static int open_vf(struct vf *vf, const char **step)
{
	int ret;

	*step = by_cdev ? "vfio-dev" : "iommu_group";
	ret = find_node(vf->address, vf->node, sizeof(vf->node));
	if (ret)
		return ret;
	*step = by_cdev ? "open /dev/iommu" : "open /dev/vfio/vfio";
	vf->iommu = open(by_cdev ? "/dev/iommu" : "/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vf->iommu < 0)
		return -errno;
	*step = by_cdev ? "open /dev/vfio/devices/<device>" : "open /dev/vfio/<group>";
	vf->node_fd = open_node(vf->node);
	if (vf->node_fd < 0)
		return vf->node_fd;
	return by_cdev ? attach_cdev(vf, step) : attach_group(vf, step);
}

static int map_and_unmap(const struct vf *vf, const char **step)
{
	void *memory;
	int ret;

	*step = "mmap";
	memory = mmap(NULL, DMA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	ret = by_cdev ? map_by_iommufd(vf, memory, step) : map_by_type1(vf, memory, step);
	munmap(memory, DMA_BYTES);
	return ret;
}

static int region_info(const struct vf *vf, uint32_t index, struct vfio_region_info *info)
{
	struct vfio_region_info wanted = { .argsz = sizeof(wanted), .index = index };

	if (ioctl(vf->device, VFIO_DEVICE_GET_REGION_INFO, &wanted))
		return -errno;
	*info = wanted;
	return 0;
}

static int prove_vf(const struct vf *vf, const char **step, struct proof *proof)
{
	struct vfio_region_info info;
	ssize_t got;
	int ret;

	*step = "config space";
	ret = region_info(vf, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	if (ret)
		return ret;
	got = pread(vf->device, proof->ids, sizeof(proof->ids), (off_t)info.offset);
	if (got != sizeof(proof->ids))
		return -EIO;
	ret = map_and_unmap(vf, step);
	if (ret)
		return ret;
	*step = "VFIO_DEVICE_RESET";
	if (ioctl(vf->device, VFIO_DEVICE_RESET))
		return -errno;
	*step = "BAR 0";
	ret = region_info(vf, VFIO_PCI_BAR0_REGION_INDEX, &info);
	if (!ret)
		proof->bar0_bytes = info.size;
	return ret;
}

/* reports */

static bool report_vf(struct vf *vf, unsigned int round)
{
	struct proof proof = { 0 };
	const char *step;
	int ret = round ? 0 : open_vf(vf, &step);

	if (!ret)
		ret = prove_vf(vf, &step, &proof);
	printf("{\"event\": \"device\", \"round\": %u, \"address\": \"%s\", ", round, vf->address);
	printf("\"variables\": \"%s\", \"node\": \"%s\", ", vf->variables, vf->node);
	if (ret) {
		printf("\"failed\": \"%s\", \"error\": \"%s\"}\n", step, error_name(ret));
		return false;
	}
	printf("\"vendor\": \"%04x\", \"device\": \"%04x\", ", proof.ids[0], proof.ids[1]);
	printf("\"mapped_bytes\": %lu, \"reset\": true, \"bar0_bytes\": %llu}\n", DMA_BYTES,
	       (unsigned long long)proof.bar0_bytes);
	return true;
}

static void report_names(void)
{
	for (size_t i = 0; i < nvfs; i++)
		printf("{\"event\": \"name\", \"address\": \"%s\", \"variables\": \"%s\"}\n",
		       vfs[i].address, vfs[i].variables);
}

static void report_start(void)
{
	const char *word = getenv("WORD");
	struct utsname name;

	uname(&name);
	printf("{\"event\": \"start\", \"word\": \"%s\", \"kernel\": \"%s\", \"vfs\": %zu}\n",
	       word ? word : "", name.release, nvfs);
}

static bool is_vf_of_another(const char *address)
{
	char path[384], id[16] = "";
	int fd;

	if (find_vf(address))
		return false;
	snprintf(path, sizeof(path), DEVICES "/%s/physfn", address);
	if (access(path, F_OK))
		return false;
	snprintf(path, sizeof(path), DEVICES "/%s/vendor", address);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, id, sizeof(id) - 1) < 0)
		id[0] = '\0';
	close(fd);
	return !strncmp(id, "0x8086", 6);
}

/*
 * Tries the first VF that the environment does not name, by its own node and through the first of
 * ours; false when either let us in.
 */
static bool report_foreign(void)
{
	DIR *devices = opendir(DEVICES);
	struct dirent *entry;
	char name[32];
	int node, device;

	while (devices && (entry = readdir(devices)))
		if (is_vf_of_another(entry->d_name) &&
		    !find_node(entry->d_name, name, sizeof(name)))
			break;
	if (!nvfs || !devices || !entry)
		return true;
	node = open_node(name);
	device = get_device(vfs[0].node_fd, entry->d_name);
	printf("{\"event\": \"foreign\", \"address\": \"%s\", ", entry->d_name);
	printf("\"node\": \"%s\", \"device\": \"%s\"}\n", node < 0 ? error_name(node) : "opened",
	       device < 0 ? error_name(device) : "opened");
	if (node >= 0)
		close(node);
	closedir(devices);
	return node < 0 && device < 0;
}

/* PID 1 of a container has no default handlers: without one, its pod is slow to end. */
static void leave(int signal)
{
	_exit(128 + signal);
}

int main(int argc, char **argv)
{
	unsigned int seconds;
	bool good = true, hold;

	by_cdev = argc > 1 && !strcmp(argv[1], "cdev");
	argc -= by_cdev;
	argv += by_cdev;
	hold = argc > 1 && !strcmp(argv[1], "hold");
	seconds = argc > 2 ? (unsigned int)atoi(argv[2]) : 2;
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	setvbuf(stdout, NULL, _IOLBF, 0);
	read_environment(environ);
	report_start();
	if (argc > 1 && !strcmp(argv[1], "names")) {
		report_names();
		for (;;)
			pause();
	}
	for (unsigned int round = 0; !round || hold; round++) {
		for (size_t i = 0; i < nvfs; i++)
			good &= report_vf(&vfs[i], round);
		if (!round)
			good &= report_foreign();
		if (hold)
			sleep(seconds);
	}
	return good ? 0 : 1;
}
