package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canUnshareNetwork tries it on a thread that ends then.
func canUnshareNetwork() bool {
	can := make(chan bool)
	onThread(func() { can <- unix.Unshare(unix.CLONE_NEWNET) == nil })
	return <-can
}

// auditArch is how a filter knows system calls made in our own convention.
var auditArch = map[string]uint32{
	"386": unix.AUDIT_ARCH_I386, "amd64": unix.AUDIT_ARCH_X86_64, "arm": unix.AUDIT_ARCH_ARM, "arm64": unix.AUDIT_ARCH_AARCH64,
	"loong64": unix.AUDIT_ARCH_LOONGARCH64, "ppc64le": unix.AUDIT_ARCH_PPC64LE, "riscv64": unix.AUDIT_ARCH_RISCV64,
}[runtime.GOARCH]

// canFilter reports whether filters of system calls can be had. On 386 sockets are made by a
// call whose arguments a filter cannot see.
func canFilter() bool {
	if auditArch == 0 || runtime.GOARCH == "386" {
		return false
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return err == 0
}

// Offsets in struct seccomp_data; the arguments are 64 bits wide, the low half first.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArg0 = 16
)

// x32 is the bit that marks calls of amd64's third convention, in which the numbers differ.
const x32 = 0x40000000

// socketFilter lets a process make unix sockets and no others. Calls in a convention that is
// not ours, and io_uring, which makes sockets without a call, are not there for it.
func socketFilter() []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32, then, other uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: then, Jf: other}
	}
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	refuse := func(err unix.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(err)) }
	return []unix.SockFilter{
		0:  load(offsetArch),
		1:  jump(unix.BPF_JEQ, auditArch, 0, 7), // else 9
		2:  load(offsetCall),
		3:  jump(unix.BPF_JGE, x32, 5, 0),                     // then 9
		4:  jump(unix.BPF_JEQ, unix.SYS_IO_URING_SETUP, 4, 0), // then 9
		5:  jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 2),         // else 8
		6:  load(offsetArg0),
		7:  jump(unix.BPF_JEQ, unix.AF_UNIX, 0, 2), // else 10
		8:  ret(unix.SECCOMP_RET_ALLOW),
		9:  refuse(unix.ENOSYS),
		10: refuse(unix.EAFNOSUPPORT),
	}
}

// denySockets takes the network from what this thread starts, and from the thread. It needs
// noNewPrivileges.
func denySockets() error {
	program := socketFilter()
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))); err != 0 {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return nil
}
