"""A training that is killed and continues, beside one that nobody disturbed."""

import hashlib
import signal

from tests.support.project import Project


def check_a_killed_training(project: Project, stage: str, model: str, last_line: str) -> None:
    """Check that a training ends with the same weights after kill -9, and not with any weights.

    Args:
        project: has all inputs of the stage.
        stage: the stage that trains, with the default seed.
        model: name of its model folder.
        last_line: beginning of the line after which the training is killed.
    """

    def weights() -> str:
        path = project.folder / "models" / model / "model.safetensors"
        return hashlib.sha256(path.read_bytes()).hexdigest()

    done = project.run(f"stages.{stage}")
    assert done.returncode == 0, done.stderr
    whole = weights()
    project.set(**{stage: {"seed": 7}})
    assert project.run(f"stages.{stage}").returncode == 0
    other = weights()
    project.set(**{stage: {"seed": 2024}})
    # The `python` of a fork server would end before the stage does.
    with Project.at(project.folder).start(f"stages.{stage}") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(last_line):
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    done = project.run(f"stages.{stage}")
    assert f"{stage}: continues after step" in done.stdout, done.stderr
    assert weights() == whole != other
