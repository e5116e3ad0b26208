"""One of several processes has the duty, and another one takes it over."""

import os
import signal

from nuska.workers.duty import Duty


def ask_elsewhere(duty: Duty) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if duty.is_ours() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_who_has_it_keeps_it_until_the_process_ends_however_it_ends() -> None:
    duty = Duty()
    taken, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(told, b"1" if duty.is_ours() and duty.is_ours() else b"0")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(taken, 1) == b"1"
        assert not duty.is_ours()
        assert not ask_elsewhere(duty)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(taken)
        os.close(told)
    assert ask_elsewhere(duty)
    assert duty.is_ours()
    assert not ask_elsewhere(duty)
    duty.close()
