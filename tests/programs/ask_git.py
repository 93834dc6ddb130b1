"""git over the plain protocol: a repository of files that lies among those of the site, read by GET alone."""

import os
import subprocess

import exchanges


class Client(exchanges.Adapter):
    pass


class Exchanges(exchanges.Exchanges):
    def git(self, *arguments, at="."):
        own = {"HOME": self.options.scratch, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "no_proxy": "*"}
        done = subprocess.run(
            ["git", *arguments],
            cwd=os.path.join(self.options.scratch, at),
            env={**os.environ, **own},
            capture_output=True,
            timeout=2 * exchanges.TIMEOUT_SECS,
        )
        exchanges.check(done.returncode == 0, f"git {arguments[0]}: exit {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def is_the_same(self):
        self.git("fsck", "--full", "--strict", at="copy")
        wanted = self.git("--git-dir", self.bare(), "rev-parse", "main")
        exchanges.same(self.git("rev-parse", "HEAD", at="copy"), wanted, "the commit that came")

    def bare(self):
        return os.path.join(self.options.root, "repo.git")

    def clone(self):
        self.git("clone", "--quiet", f"{self.options.origin}/files/repo.git", "copy")
        self.is_the_same()

    def pull(self):
        """A commit that came past the proxy is read through it, object by object."""
        self.git("clone", "--quiet", self.bare(), "other")
        with open(os.path.join(self.options.scratch, "other", "more"), "wb") as file:
            file.write(os.urandom(200_000))
        self.git("add", "more", at="other")
        author = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        self.git(*author, "commit", "--quiet", "--message", "more", at="other")
        self.git("push", "--quiet", "origin", "HEAD:main", at="other")
        self.git("--git-dir", self.bare(), "update-server-info")
        self.git("pull", "--quiet", "--ff-only", at="copy")
        self.is_the_same()


if __name__ == "__main__":
    exchanges.play(Client, ["clone", "pull"], Exchanges)
