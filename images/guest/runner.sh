# Runs in the machine, as root, for `cargo boot -- COMMAND` and the tests: takes commands from a
# virtio port and answers with what they did. It is no part of the image: QEMU hands it over as a
# credential, together with the unit that starts it.
#
# Host to guest:  run ID LIMIT LENGTH\n  then LENGTH bytes of a bash script
# Guest to host:  hello BOOT_ID\n        once per boot
#                 done ID STATUS OUT ERR\n  then OUT bytes of stdout and ERR bytes of stderr
set -u
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin

# By name from sysfs rather than /dev/virtio-ports: the link there is udev's and comes later.
port=
for name in /sys/class/virtio-ports/*/name; do
  if [[ $(<"$name") == agentos.runner ]]; then
    port=${name%/name}
    port=/dev/${port##*/}
  fi
done
[[ -n $port ]] || { echo "agentos-runner: no virtio port is named agentos.runner" >&2; exit 1; }
exec 3<>"$port" || exit 1

dir=/run/agentos-runner
mkdir -p -m 0700 "$dir"
cd /
printf 'hello %s\n' "$(</proc/sys/kernel/random/boot_id)" >&3
while IFS=' ' read -r -u 3 word id limit length; do
  [[ $word == run ]] || continue
  # `head -c` reads no further than it was told, so the next command stays in the port.
  head -c "$length" <&3 >"$dir/command"
  # Descriptors 1 and 2 are files and 3 is closed: something left running in the background holds
  # nothing up.
  timeout --kill-after=5 "$limit" bash "$dir/command" </dev/null >"$dir/out" 2>"$dir/err" 3>&-
  status=$?
  out=$(stat -c %s "$dir/out") err=$(stat -c %s "$dir/err")
  {
    printf 'done %s %s %s %s\n' "$id" "$status" "$out" "$err"
    # Not `cat`: what runs in the background may still write.
    head -c "$out" "$dir/out"
    head -c "$err" "$dir/err"
  } >&3
done
