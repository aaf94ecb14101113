import { ALLOW, type FilterBuilder, refusal } from "./filter-builder.ts";
import type { SeccompPolicy } from "./launch-policy.ts";

const [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK] = [1, 2, 10, 16];
const [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] = [1, 2, 5];
/** Without SOCK_NONBLOCK and SOCK_CLOEXEC. */
const SOCK_TYPE = 0xf;
const NETLINK_ROUTE = 0;
const [IPPROTO_ANY, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6] = [0, 1, 6, 17, 58];
const MSG_FASTOPEN = 0x20000000;

/** Which sockets may be made, and what is not done with them. */
export function addSocketRules(filter: FilterBuilder, policy: SeccompPolicy): void {
  addSocketRule(filter, policy);
  // A pair of unix datagram sockets could be pointed at any path afterwards; connected streams stay what they are.
  filter.on("socketpair", (program) => {
    program.loadArgument(0).ifEqual(AF_UNIX, undefined, "no pair");
    program.loadArgument(1).and(SOCK_TYPE).ifEqual(SOCK_STREAM, "pair").ifEqual(SOCK_SEQPACKET, "pair");
    program.label("no pair").return(refusal("EACCES")).label("pair").return(ALLOW);
  });
  if (policy.listenOnly) filter.refuse(["connect"], "EACCES");
  // It connects without connect(2), past Landlock's ports.
  filter.noBit("sendto", 3, MSG_FASTOPEN, "EOPNOTSUPP");
  filter.noBit("sendmsg", 2, MSG_FASTOPEN, "EOPNOTSUPP");
  filter.noBit("sendmmsg", 3, MSG_FASTOPEN, "EOPNOTSUPP");
}

function addSocketRule(filter: FilterBuilder, { sockets, icmp }: SeccompPolicy): void {
  const tcp = sockets !== "none";
  const udp = sockets === "all";
  if (!tcp && !icmp) return filter.refuse(["socket"], "EACCES");
  filter.on("socket", (program) => {
    program.loadArgument(0).ifEqual(AF_INET, "internet").ifEqual(AF_INET6, "internet");
    // Names are looked up with a look at the interfaces; changing them takes a capability.
    if (tcp) program.ifEqual(AF_NETLINK, "netlink");
    program.return(refusal("EACCES"));
    if (tcp) {
      program.label("netlink").loadArgument(2).ifEqual(NETLINK_ROUTE, "socket");
      program.return(refusal("EACCES"));
    }
    program.label("internet").loadArgument(1).and(SOCK_TYPE);
    if (tcp) program.ifEqual(SOCK_STREAM, "stream");
    if (udp || icmp) program.ifEqual(SOCK_DGRAM, "datagram");
    program.return(refusal("EACCES"));
    if (tcp) {
      // Not MPTCP and SCTP: Landlock does not see where they connect.
      program.label("stream").loadArgument(2).ifEqual(IPPROTO_ANY, "socket").ifEqual(IPPROTO_TCP, "socket");
      program.return(refusal("EACCES"));
    }
    program.label("datagram").loadArgument(2);
    if (udp) program.ifEqual(IPPROTO_ANY, "socket").ifEqual(IPPROTO_UDP, "socket");
    if (icmp) program.ifEqual(IPPROTO_ICMP, "socket").ifEqual(IPPROTO_ICMPV6, "socket");
    program.return(refusal("EACCES")).label("socket").return(ALLOW);
  });
}
