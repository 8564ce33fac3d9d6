"""The ground itself, without any plugin: what a device manager does that nobody has registered with."""

import os

import pytest
from ground.manager import CHECKPOINT, PLUGINS, POD_RESOURCES, DeviceManager, ManagerEndedError
from ground.pods import Container, Pod


async def test_the_program_gives_the_word_back_and_serves_both_sockets(device_manager: DeviceManager) -> None:
    async with device_manager:
        ready = await device_manager.restart(kill=False)
        assert ready.word == os.environ["WORD"]
        assert (PLUGINS / "kubelet.sock").is_socket()
        assert POD_RESOURCES.is_socket()
        assert (await device_manager.capacity()).resources == {}


async def test_a_resource_that_nobody_registered_is_ignored(device_manager: DeviceManager) -> None:
    async with device_manager:
        pod = Pod("pod", (Container(limits={"example.com/nobody": 1}),))
        admission = await device_manager.admit(pod)
        assert admission.admitted
        assert not admission.ids
        assert not (await device_manager.options(pod)).devices
    assert not CHECKPOINT.exists()


async def test_kill_leaves_the_socket_and_stop_removes_it(device_manager: DeviceManager) -> None:
    async with device_manager:
        await device_manager.kill()
        assert (PLUGINS / "kubelet.sock").exists()
        assert device_manager.crashed() is None
        with pytest.raises(ManagerEndedError):
            await device_manager.capacity()
        await device_manager.start()
        await device_manager.stop()
        assert not (PLUGINS / "kubelet.sock").exists()
        assert device_manager.crashed() is None
