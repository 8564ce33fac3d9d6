// SPDX-License-Identifier: GPL-2.0-only
/*
 * qat_double - a double of the QAT gen4 PF driver, for test guests without QAT hardware.
 *
 * It dresses QEMU's SR-IOV capable NVMe controllers ("donors") as QAT PFs and drives them:
 *  - reads of vendor, device, class and of the SR-IOV VF device id in config space are rewritten
 *    (pci_bus_set_ops) and the donor is removed and scanned again. So the PCI core itself
 *    enumerates 8086:4940 PFs and 8086:4941 VFs; sysfs, uevents and VFIO's config space all agree.
 *  - a pci_driver named "4xxx" binds to the PFs.
 *
 * Copied from the real driver, as Linux 6.1 and 6.12 have it (drivers/crypto/intel/qat/qat_common,
 * before 6.4 without intel/). In front of each the first version that has it; the function stands at
 * its place here. It does as the driver of the kernel that it runs on, or of the release= that is
 * asked for: what came later is not there.
 *  6.0  adf_sysfs.c: qat/state and qat/cfg_services, and their errnos; of services sym;asym and dc.
 *       Others since 6.5 or so (read in 6.1.176 and 6.12.95), dcc since 6.7
 *  6.5  adf_sysfs.c: qat/pm_idle_enabled; 6.7: rp2srv, num_rps; 6.9: auto_reset
 *  6.6  adf_heartbeat.c, adf_heartbeat_dbgfs.c: heartbeat in debugfs while up, whose files end in a
 *       NUL and which refuses whoever asks too soon
 *  6.7  adf_sysfs_ras_counters.c: qat_ras while up, counting from 0 at each start
 *  all  adf_sriov.c, adf_init.c: any non-zero sriov_numvfs enables all VFs; state=down takes the VFs
 *       away, waiting for whoever holds one, and state=up does not bring them back.
 *  6.12 adf_sriov.c: sriov_numvfs=0 takes the VFs away, which is refused before ("crypto: qat - allow
 *       disabling SR-IOV VFs", July 2024)
 *
 * What it does not do:
 *  - BARs, rings and firmware: no request is ever served, and no VF driver but VFIO's starts on a VF
 *  - messages between PF and VF: no VF is told of a restart, and none is waited for (adf_pfvf_*.c)
 *  - resets by the device itself: auto_reset is kept and does nothing (adf_aer.c)
 *  - ask for an IOMMU before it enables VFs, as adf_do_enable_sriov() does
 *  - be used by the kernel's own crypto: force_busy stands for it (adf_dev_in_use())
 *  - services as from 6.16 on: in any order, and written back in the driver's own
 *  - qat_rl, telemetry, cnv_errors, pm_status, dev_cfg, fw_counters, heartbeat/inject_error
 *
 * Faults are injected through debugfs qat_double/<bdf>/. block_down makes a write hang as one does
 * that takes away a VF which somebody has. The others named block_* make reads sleep, as
 * the real ones do on a lock that is not given back, uninterruptibly: adf_devmgr_pci_to_accel_dev()
 * (adf_dev_mgr.c), which all of qat/ and qat_ras/ begin with, takes table_lock;
 * adf_cfg_get_param_value() (adf_cfg.c) behind cfg_services takes the PF's. Never load the real qat_4xxx beside it: it
 * has the same name and would take the disguised device for its own.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>

#define QD_MAX_BUSES		32
#define QD_VENDOR		0x8086
#define QD_CLASS		0x0b4000
#define QD_RINGS_PER_VF		4

static ushort donor_vendor = 0x1b36;
module_param(donor_vendor, ushort, 0444);
static ushort donor_device = 0x0010;
module_param(donor_device, ushort, 0444);
static ushort pf_device = 0x4940;
module_param(pf_device, ushort, 0444);
static ushort vf_device = 0x4941;
module_param(vf_device, ushort, 0444);
static char *default_services = "sym;asym";
module_param(default_services, charp, 0444);
static char *driver_name = "4xxx";
module_param(driver_name, charp, 0444);
MODULE_PARM_DESC(driver_name, "c6xx, 420xx, 6xxx ... for other generations");
static ushort release = LINUX_VERSION_MAJOR * 100 + LINUX_VERSION_PATCHLEVEL;
module_param(release, ushort, 0444);
MODULE_PARM_DESC(release, "which release's driver it does as, e.g. 601 for 6.1; this kernel's");

/* the disguise */

struct qd_bus {
	struct pci_bus *bus;
	struct pci_ops *donor_ops;
	struct pci_ops ops;
	unsigned int pf_devfn;
	int sriov_pos;
};

static struct qd_bus qd_buses[QD_MAX_BUSES];
static int qd_nbuses;

static struct qd_bus *qd_find_bus(struct pci_bus *bus)
{
	int i;

	for (i = 0; i < qd_nbuses; i++)
		if (qd_buses[i].bus == bus)
			return &qd_buses[i];
	return NULL;
}

static u8 qd_byte_of(u32 value, int byte)
{
	return value >> (8 * byte);
}

/* Fills *v and returns true when the disguise has a say in the config byte at @reg. */
static bool qd_byte(const struct qd_bus *qb, unsigned int devfn, int reg, u8 *v)
{
	bool pf = devfn == qb->pf_devfn;
	int vf_did = qb->sriov_pos + PCI_SRIOV_VF_DID;

	switch (reg) {
	case PCI_VENDOR_ID ... PCI_VENDOR_ID + 1:
		*v = qd_byte_of(QD_VENDOR, reg - PCI_VENDOR_ID);
		return pf;	/* the standard wants 0xffff from a VF */
	case PCI_DEVICE_ID ... PCI_DEVICE_ID + 1:
		*v = qd_byte_of(pf_device, reg - PCI_DEVICE_ID);
		return pf;
	case PCI_CLASS_PROG ... PCI_CLASS_PROG + 2:
		*v = qd_byte_of(QD_CLASS, reg - PCI_CLASS_PROG);
		return true;
	case PCI_SUBSYSTEM_VENDOR_ID ... PCI_SUBSYSTEM_VENDOR_ID + 1:
		*v = qd_byte_of(QD_VENDOR, reg - PCI_SUBSYSTEM_VENDOR_ID);
		return true;
	case PCI_SUBSYSTEM_ID ... PCI_SUBSYSTEM_ID + 1:
		*v = 0;
		return true;
	}
	if (pf && (reg == vf_did || reg == vf_did + 1)) {
		*v = qd_byte_of(vf_device, reg - vf_did);
		return true;
	}
	return false;
}

static int qd_config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *val)
{
	struct qd_bus *qb = qd_find_bus(bus);
	int ret, i;
	u8 b;

	ret = qb->donor_ops->read(bus, devfn, where, size, val);
	if (ret != PCIBIOS_SUCCESSFUL)
		return ret;
	/* All ones of a function that is not there must stay, or the scan would find it. */
	if (where == PCI_VENDOR_ID && devfn != qb->pf_devfn)
		return ret;
	for (i = 0; i < size; i++)
		if (qd_byte(qb, devfn, where + i, &b))
			*val = (*val & ~(0xffu << (8 * i))) | ((u32)b << (8 * i));
	return ret;
}

static void qd_disguise(struct pci_dev *pdev)
{
	struct qd_bus *qb = &qd_buses[qd_nbuses];

	qb->bus = pdev->bus;
	qb->pf_devfn = pdev->devfn;
	qb->sriov_pos = pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV);
	qb->donor_ops = pdev->bus->ops;
	qb->ops = *qb->donor_ops;
	qb->ops.read = qd_config_read;
	qd_nbuses++;
	pci_bus_set_ops(pdev->bus, &qb->ops);
}

static void qd_enumerate_again(struct qd_bus *qb)
{
	struct pci_dev *pdev = pci_get_slot(qb->bus, qb->pf_devfn);

	if (pdev) {
		pci_stop_and_remove_bus_device_locked(pdev);
		pci_dev_put(pdev);
	}
	pci_lock_rescan_remove();
	pci_rescan_bus(qb->bus);
	pci_unlock_rescan_remove();
}

static void qd_disguise_all(void)
{
	struct pci_dev *pdev = NULL;
	int i;

	while ((pdev = pci_get_device(donor_vendor, donor_device, pdev))) {
		if (pdev->is_virtfn || qd_nbuses == QD_MAX_BUSES || qd_find_bus(pdev->bus) ||
		    !pci_find_ext_capability(pdev, PCI_EXT_CAP_ID_SRIOV))
			continue;
		qd_disguise(pdev);
	}
	for (i = 0; i < qd_nbuses; i++)
		qd_enumerate_again(&qd_buses[i]);
}

static void qd_undress_all(void)
{
	int i;

	for (i = 0; i < qd_nbuses; i++) {
		pci_bus_set_ops(qd_buses[i].bus, qd_buses[i].donor_ops);
		qd_enumerate_again(&qd_buses[i]);
	}
}

/* the device's life */

enum { QD_CORRECTABLE, QD_NONFATAL, QD_FATAL, QD_SEVERITIES };

struct qd {
	struct pci_dev *pdev;
	struct mutex lock;	/* up, and what is taken away with it */
	bool up, resetting;
	const char *services;
	bool pm_idle, auto_reset;
	int ring;		/* the one rp2srv was asked about, -1: none yet */
	u32 hb_timer_ms, hb_sent, hb_failed;
	unsigned long hb_asked;	/* when, in jiffies */
	atomic_t ras[QD_SEVERITIES];
	struct dentry *dbg, *hb_dir, *faults;
	bool force_heartbeat_fail, force_busy;
	bool block_heartbeat, block_state, block_services, block_ras, block_down;
	u32 up_error;		/* errno of every transition to up, 0: none */
	u32 delay_ms;		/* what each transition takes */
};

static struct dentry *qd_faults_root;

static void qd_block(const bool *blocked)
{
	while (READ_ONCE(*blocked))
		msleep(10);
}

/* heartbeat/ in debugfs, from adf_heartbeat.c and adf_heartbeat_dbgfs.c: there is a NUL behind each text */

/* adf_hb_check_polling_freq(): who asks again within a period gets no answer, and it is not counted. */
static bool qd_hb_too_soon(struct qd *qd)
{
	if (time_before(jiffies, qd->hb_asked + msecs_to_jiffies(qd->hb_timer_ms)))
		return true;
	qd->hb_asked = jiffies;
	return false;
}

/* adf_heartbeat_status(), but that no failure leads to a reset: auto_reset does nothing here */
static bool qd_hb_alive(struct qd *qd)
{
	if (qd_hb_too_soon(qd))
		return false;
	qd->hb_sent++;
	if (qd->force_heartbeat_fail)
		qd->hb_failed++;
	return !qd->force_heartbeat_fail;
}

/* adf_hb_status_read(): whatever is not alive is -1 */
static ssize_t qd_hb_status_read(struct file *f, char __user *ub, size_t n, loff_t *pos)
{
	struct qd *qd = f->private_data;
	char s[8];
	int len;

	if (*pos)
		return 0;
	qd_block(&qd->block_heartbeat);
	len = scnprintf(s, sizeof(s), "%d\n", qd_hb_alive(qd) ? 0 : -1);
	return simple_read_from_buffer(ub, n, pos, s, len + 1);
}

static const struct file_operations qd_hb_status_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = qd_hb_status_read,
};

/* adf_hb_stats_read() */
static ssize_t qd_hb_stats_read(struct file *f, char __user *ub, size_t n, loff_t *pos)
{
	u32 *value = f->private_data;
	char s[16];
	int len;

	if (*pos)
		return 0;
	len = scnprintf(s, sizeof(s), "%u\n", *value);
	return simple_read_from_buffer(ub, n, pos, s, len + 1);
}

static const struct file_operations qd_hb_stats_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = qd_hb_stats_read,
};

static void qd_start_heartbeat(struct qd *qd)
{
	/* adf_heartbeat_init() has it zeroed at each start of the device, adf_heartbeat_dbgfs_add() */
	qd->hb_sent = 0;
	qd->hb_failed = 0;
	qd->hb_asked = jiffies - msecs_to_jiffies(qd->hb_timer_ms);
	qd->hb_dir = debugfs_create_dir("heartbeat", qd->dbg);
	debugfs_create_file("status", 0400, qd->hb_dir, qd, &qd_hb_status_fops);
	debugfs_create_file("queries_sent", 0400, qd->hb_dir, &qd->hb_sent, &qd_hb_stats_fops);
	debugfs_create_file("queries_failed", 0400, qd->hb_dir, &qd->hb_failed, &qd_hb_stats_fops);
	debugfs_create_u32("config", 0600, qd->hb_dir, &qd->hb_timer_ms);
}

/* sysfs group qat_ras/, from adf_sysfs_ras_counters.c. What counts is whoever writes to qat_double/. */

static ssize_t qd_ras_show(struct device *d, int severity, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);

	qd_block(&qd->block_ras);
	return sysfs_emit(buf, "%d\n", atomic_read(&qd->ras[severity]));
}

static ssize_t errors_correctable_show(struct device *d, struct device_attribute *a, char *buf)
{
	return qd_ras_show(d, QD_CORRECTABLE, buf);
}
static DEVICE_ATTR_RO(errors_correctable);

static ssize_t errors_nonfatal_show(struct device *d, struct device_attribute *a, char *buf)
{
	return qd_ras_show(d, QD_NONFATAL, buf);
}
static DEVICE_ATTR_RO(errors_nonfatal);

static ssize_t errors_fatal_show(struct device *d, struct device_attribute *a, char *buf)
{
	return qd_ras_show(d, QD_FATAL, buf);
}
static DEVICE_ATTR_RO(errors_fatal);

/* ADF_RAS_ERR_CTR_CLEAR() in adf_accel_devices.h */
static void qd_clear_ras(struct qd *qd)
{
	int i;

	for (i = 0; i < QD_SEVERITIES; i++)
		atomic_set(&qd->ras[i], 0);
}

/* reset_error_counters_store(): "1" and one more byte, nothing else */
static ssize_t reset_error_counters_store(struct device *d, struct device_attribute *a,
					  const char *buf, size_t count)
{
	if (buf[0] != '1' || count != 2)
		return -EINVAL;
	qd_clear_ras(dev_get_drvdata(d));
	return count;
}
static DEVICE_ATTR_WO(reset_error_counters);

static struct attribute *qd_ras_attrs[] = {
	&dev_attr_errors_correctable.attr,
	&dev_attr_errors_nonfatal.attr,
	&dev_attr_errors_fatal.attr,
	&dev_attr_reset_error_counters.attr,
	NULL
};
static const struct attribute_group qd_ras_group = { .name = "qat_ras", .attrs = qd_ras_attrs };

/* adf_sysfs_start_ras() */
static int qd_start_ras(struct qd *qd)
{
	qd_clear_ras(qd);
	return sysfs_create_group(&qd->pdev->dev.kobj, &qd_ras_group);
}

/* adf_sysfs_stop_ras(): waits for whoever reads */
static void qd_stop_ras(struct qd *qd)
{
	sysfs_remove_group(&qd->pdev->dev.kobj, &qd_ras_group);
	qd_clear_ras(qd);
}

static int qd_start(struct qd *qd)
{
	int ret = release < 607 ? 0 : qd_start_ras(qd);

	if (ret)
		return ret;
	if (release >= 606)
		qd_start_heartbeat(qd);
	qd->up = true;
	return 0;
}

/* adf_dev_up() (adf_init.c); one that is up already is no error (adf_sysfs.c, state_store()) */
static int qd_up(struct qd *qd)
{
	int ret = 0;

	mutex_lock(&qd->lock);
	if (!qd->up) {
		msleep(qd->delay_ms);
		ret = -(int)qd->up_error;
		if (!ret)
			ret = qd_start(qd);
	}
	mutex_unlock(&qd->lock);
	return ret;
}

/*
 * adf_dev_down() (adf_init.c), then adf_disable_sriov() (adf_sriov.c): pci_disable_sriov() waits in
 * the VF drivers' remove for as long as somebody holds a VF open through VFIO.
 */
static void qd_down(struct qd *qd)
{
	mutex_lock(&qd->lock);
	if (qd->up) {
		debugfs_remove(qd->hb_dir);
		if (release >= 607)
			qd_stop_ras(qd);
		qd->up = false;
		msleep(qd->delay_ms);
		qd_block(&qd->block_down);
		pci_disable_sriov(qd->pdev);
	}
	mutex_unlock(&qd->lock);
}

/* adf_dev_in_use(), adf_devmgr_in_reset(): who configures it is refused (adf_sysfs.c, state_store()) */
static bool qd_busy(const struct qd *qd)
{
	return qd->force_busy || READ_ONCE(qd->resetting);
}

/*
 * A reset as kernels have it whose resets do not keep VFs (mainline up to 7.1, adf_aer.c: adf_dev_restart(), then
 * adf_reenable_sriov()): all VFs are taken away, waiting for whoever holds one, and made again. These
 * have no driver_override, so only a driver that takes them by their id gets them.
 */
static int qd_reset(void *data, u64 value)
{
	struct qd *qd = data;
	int ret, vfs = pci_num_vf(qd->pdev);

	WRITE_ONCE(qd->resetting, true);
	qd_down(qd);
	ret = qd_up(qd);
	if (!ret && vfs)
		ret = pci_enable_sriov(qd->pdev, vfs);
	WRITE_ONCE(qd->resetting, false);
	return ret;
}
DEFINE_DEBUGFS_ATTRIBUTE(qd_reset_fops, NULL, qd_reset, "%llu\n");

/*
 * adf_sriov_configure(), with what 6.12 has below it: adf_do_enable_sriov() and
 * adf_do_disable_sriov(), either of which takes the PF down and up again. Before, it enabled only.
 */
static int qd_sriov_configure(struct pci_dev *pdev, int numvfs)
{
	struct qd *qd = pci_get_drvdata(pdev);
	int ret, total = pci_sriov_get_totalvfs(pdev);

	if (release < 612 && pci_num_vf(pdev))
		return -EINVAL;
	if (qd_busy(qd))
		return -EBUSY;
	qd_down(qd);
	ret = qd_up(qd);
	if (ret || !numvfs)
		return ret;
	ret = pci_enable_sriov(pdev, total);
	return ret ? ret : total;
}

/* sysfs group qat/, from adf_sysfs.c: each function has the name that it has there */

static const char * const qd_states[] = { "down", "up" };
/* services_operations, by when they came */
static const char * const qd_services[] = {
	"sym;asym", "dc",
	"asym;sym", "sym", "asym", "dc;asym", "asym;dc", "dc;sym", "sym;dc",
	"dcc",
};

static size_t qd_services_known(void)
{
	return release < 605 ? 2 : release < 607 ? 9 : ARRAY_SIZE(qd_services);
}

static ssize_t state_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);

	qd_block(&qd->block_state);
	return sysfs_emit(buf, "%s\n", qd_states[qd->up]);
}

static ssize_t state_store(struct device *d, struct device_attribute *a,
			   const char *buf, size_t count)
{
	struct qd *qd = dev_get_drvdata(d);
	int ret;

	if (qd_busy(qd))
		return -EBUSY;
	ret = sysfs_match_string(qd_states, buf);
	if (ret < 0)
		return ret;
	if (!ret) {
		qd_down(qd);
		return count;
	}
	ret = qd_up(qd);
	return ret ? ret : count;
}
static DEVICE_ATTR_RW(state);

static ssize_t cfg_services_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);

	qd_block(&qd->block_services);
	return sysfs_emit(buf, "%s\n", qd->services);
}

static ssize_t cfg_services_store(struct device *d, struct device_attribute *a,
				  const char *buf, size_t count)
{
	struct qd *qd = dev_get_drvdata(d);
	int i = __sysfs_match_string(qd_services, qd_services_known(), buf);

	if (i < 0)
		return i;
	if (qd->up)
		return -EINVAL;
	qd->services = qd_services[i];
	return count;
}
static DEVICE_ATTR_RW(cfg_services);

static ssize_t pm_idle_enabled_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);

	return sysfs_emit(buf, "%d\n", qd->pm_idle);
}

static ssize_t pm_idle_enabled_store(struct device *d, struct device_attribute *a,
				     const char *buf, size_t count)
{
	struct qd *qd = dev_get_drvdata(d);
	bool v;
	int ret = kstrtobool(buf, &v);

	if (ret)
		return ret;
	if (qd->up)
		return -EINVAL;
	qd->pm_idle = v;
	return count;
}
static DEVICE_ATTR_RW(pm_idle_enabled);

static ssize_t auto_reset_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);

	return sysfs_emit(buf, "%s\n", qd->auto_reset ? "on" : "off");
}

static ssize_t auto_reset_store(struct device *d, struct device_attribute *a,
				const char *buf, size_t count)
{
	struct qd *qd = dev_get_drvdata(d);
	int ret = kstrtobool(buf, &qd->auto_reset);

	return ret ? ret : count;
}
static DEVICE_ATTR_RW(auto_reset);

static unsigned int qd_num_rps(struct qd *qd)
{
	return pci_sriov_get_totalvfs(qd->pdev) * QD_RINGS_PER_VF;
}

static ssize_t num_rps_show(struct device *d, struct device_attribute *a, char *buf)
{
	return sysfs_emit(buf, "%u\n", qd_num_rps(dev_get_drvdata(d)));
}
static DEVICE_ATTR_RO(num_rps);

/* Ring pair n belongs to service n mod 2 of "a;b", or to the only one. */
static ssize_t rp2srv_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct qd *qd = dev_get_drvdata(d);
	const char *second = strchr(qd->services, ';');

	if (qd->ring < 0)
		return -EINVAL;
	if (second && (qd->ring & 1))
		return sysfs_emit(buf, "%s\n", second + 1);
	return sysfs_emit(buf, "%.*s\n", (int)strcspn(qd->services, ";"), qd->services);
}

static ssize_t rp2srv_store(struct device *d, struct device_attribute *a,
			    const char *buf, size_t count)
{
	struct qd *qd = dev_get_drvdata(d);
	unsigned int ring;
	int ret = kstrtouint(buf, 10, &ring);

	if (ret)
		return ret;
	if (ring >= qd_num_rps(qd))
		return -EINVAL;
	qd->ring = ring;
	return count;
}
static DEVICE_ATTR_RW(rp2srv);

static struct attribute *qd_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_cfg_services.attr,
	&dev_attr_pm_idle_enabled.attr,
	&dev_attr_rp2srv.attr,
	&dev_attr_num_rps.attr,
	&dev_attr_auto_reset.attr,
	NULL
};
static const ushort qd_attrs_since[] = { 600, 600, 605, 607, 607, 609 };

static umode_t qd_attr_mode(struct kobject *kobj, struct attribute *attr, int n)
{
	return release < qd_attrs_since[n] ? 0 : attr->mode;
}

static const struct attribute_group qd_group = {
	.name = "qat", .attrs = qd_attrs, .is_visible = qd_attr_mode,
};
static const struct attribute_group *qd_groups[] = { &qd_group, NULL };

/* the driver */

static void qd_debugfs_init(struct qd *qd)
{
	char name[32];

	snprintf(name, sizeof(name), "qat_%s_%s", driver_name, pci_name(qd->pdev));
	qd->dbg = debugfs_create_dir(name, NULL);
	qd->faults = debugfs_create_dir(pci_name(qd->pdev), qd_faults_root);
	debugfs_create_bool("force_heartbeat_fail", 0600, qd->faults, &qd->force_heartbeat_fail);
	debugfs_create_bool("force_busy", 0600, qd->faults, &qd->force_busy);
	debugfs_create_u32("up_error", 0600, qd->faults, &qd->up_error);
	debugfs_create_u32("delay_ms", 0600, qd->faults, &qd->delay_ms);
	debugfs_create_file("reset", 0200, qd->faults, qd, &qd_reset_fops);
	debugfs_create_bool("block_heartbeat", 0600, qd->faults, &qd->block_heartbeat);
	debugfs_create_bool("block_state", 0600, qd->faults, &qd->block_state);
	debugfs_create_bool("block_services", 0600, qd->faults, &qd->block_services);
	debugfs_create_bool("block_down", 0600, qd->faults, &qd->block_down);
	debugfs_create_bool("block_ras", 0600, qd->faults, &qd->block_ras);
	debugfs_create_atomic_t("ras_correctable", 0600, qd->faults, &qd->ras[QD_CORRECTABLE]);
	debugfs_create_atomic_t("ras_nonfatal", 0600, qd->faults, &qd->ras[QD_NONFATAL]);
	debugfs_create_atomic_t("ras_fatal", 0600, qd->faults, &qd->ras[QD_FATAL]);
}

static int qd_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct qd *qd = devm_kzalloc(&pdev->dev, sizeof(*qd), GFP_KERNEL);
	int ret;

	if (!qd)
		return -ENOMEM;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	pci_set_drvdata(pdev, qd);
	qd->pdev = pdev;
	qd->ring = -1;
	qd->services = default_services;
	qd->pm_idle = true;
	qd->hb_timer_ms = 200;
	mutex_init(&qd->lock);
	qd_debugfs_init(qd);
	ret = qd_start(qd);
	if (ret) {
		debugfs_remove(qd->faults);
		debugfs_remove(qd->dbg);
		return ret;
	}
	dev_info(&pdev->dev, "qat_double: up, %d VFs possible\n", pci_sriov_get_totalvfs(pdev));
	return 0;
}

static void qd_remove(struct pci_dev *pdev)
{
	struct qd *qd = pci_get_drvdata(pdev);

	qd_down(qd);
	debugfs_remove(qd->faults);
	debugfs_remove(qd->dbg);
}

static struct pci_device_id qd_ids[] = {
	{ PCI_DEVICE(QD_VENDOR, 0x4940) },	/* becomes pf_device when the module is loaded */
	{ }
};

static struct pci_driver qd_driver = {
	.id_table = qd_ids,
	.probe = qd_probe,
	.remove = qd_remove,
	.sriov_configure = qd_sriov_configure,
	.dev_groups = qd_groups,	/* not .driver.dev_groups: the PCI core sets that one */
};

static int __init qd_init(void)
{
	int ret;

	qd_disguise_all();
	qd_faults_root = debugfs_create_dir("qat_double", NULL);
	qd_driver.name = driver_name;
	qd_ids[0].device = pf_device;
	ret = pci_register_driver(&qd_driver);
	if (ret) {
		debugfs_remove(qd_faults_root);
		qd_undress_all();
		return ret;
	}
	pr_info("qat_double: %d PFs dressed as %04x:%04x\n", qd_nbuses, QD_VENDOR, pf_device);
	return 0;
}

static void __exit qd_exit(void)
{
	pci_unregister_driver(&qd_driver);
	debugfs_remove(qd_faults_root);
	qd_undress_all();
}

module_init(qd_init);
module_exit(qd_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test double of the QAT gen4 PF driver");
